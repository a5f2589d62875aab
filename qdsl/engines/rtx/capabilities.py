"""The GPUs that a build can be for: those that the wheel has the compute capability of."""

from __future__ import annotations

from qdsl.diag import Diagnostic, QdslError

DEFAULT = "sm86"
# What TensorRT-RTX 1.7.1 builds for, and the GPUs of each.
CAPABILITIES = {
    "sm75": "Turing",
    "sm80": "A100",
    "sm86": "GeForce RTX 30, A10",
    "sm89": "GeForce RTX 40, L4",
    "sm120": "GeForce RTX 50",
    "sm121": "GB10",
}
_AMPERE = (8, 0)
_NOT_THERE = {
    "sm53": "Jetson Nano",
    "sm62": "Jetson TX2",
    "sm72": "Jetson Xavier",
    "sm87": "Jetson Orin",
    "sm90": "Hopper",
    "sm100": "Blackwell of data centres",
    "sm101": "Jetson Thor",
    "sm103": "Blackwell of data centres",
    "sm110": "Jetson Thor",
}


def nearest(wanted: str) -> str:
    """The newest of them that is no newer than a compute capability ("8.7"). DEFAULT for "", and for GPUs before
    Ampere: this builder makes floats of int8 for them without a word, as TensorRT's own does not."""
    asked = tuple(map(int, wanted.split("."))) if wanted else (0, 0)
    known = {name: (int(name[2:-1]), int(name[-1])) for name in CAPABILITIES}
    fitting = [name for name, each in known.items() if _AMPERE <= each <= asked]
    return max(fitting, key=lambda name: known[name], default=DEFAULT)


def capability(text: str) -> str:
    """A compute capability by its name here, also said as "8.6" or "86". Raises QdslError rtx-capability."""
    word = text.strip().lower().removeprefix("sm").lstrip("_").replace(".", "")
    found = f"sm{word}"
    if found in CAPABILITIES:
        return found
    device = _NOT_THERE.get(found, "")
    raise QdslError(
        [
            Diagnostic(
                "rtx-capability",
                f"TensorRT-RTX does not build for `{text[:40]}`{f' ({device})' if device else ''}",
                help=(
                    f"it builds for {', '.join(f'`{name}` ({what})' for name, what in CAPABILITIES.items())}; "
                    "Jetsons (Orin: sm87) and Hopper (sm90) are not among them: what is built for another GPU shows "
                    "what parser and builder make of the file, and is no result of theirs",
                ),
            )
        ]
    )
