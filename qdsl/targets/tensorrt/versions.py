"""The versions of TensorRT that files are emitted for, and what parts one from another.

What exists in a version was read from NVIDIA's own Python modules of 13 versions and from trtexec's option parser at 19
tags (8.6.1 to 11.1; of 11.2 to 11.4 the modules only): `tests/test_tensorrt_versions.py` holds this file against both.
What a version does when it builds was never measured here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdsl.diag import nearest

_WRITTEN = re.compile(r"(\d{1,2})\.(\d{1,2})(\.\d{1,3}){0,2}", re.ASCII)

# From this version on the builder obeys the types of the graph alone, and what forced precision is gone.
_STRONG_ONLY = 11

# Newest opset that NVIDIA's table of ONNX operators (onnx-tensorrt, docs/operators.md) names, by first version.
_OPSETS = (((8, 6), 17), ((10, 0), 20), ((10, 9), 22), ((10, 13), 24))

# Flags of the builder that allow a narrow type, by the first version that has them; none has them from 11 on.
_FLAGS = (((8, 6), ("fp16", "int8", "fp8")), ((10, 0), ("bf16",)), ((10, 1), ("int4",)), ((10, 8), ("fp4",)))

# trtexec has no --fp4: only the builder's own flag.
_NOT_IN_TRTEXEC = ("fp4",)


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """One version of TensorRT, by major and minor number: "10.3". Releases compare as versions do."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def weak(self) -> bool:
        """Whether the builder may choose types itself: a network is weakly typed unless it says otherwise."""
        return self.major < _STRONG_ONLY

    @property
    def weak_deprecated(self) -> bool:
        """Whether NVIDIA advises against it (NvInfer.h, from 10.12 on)."""
        return self.weak and self >= Release(10, 12)

    @property
    def strong(self) -> bool:
        """Whether a network may be strongly typed: each tensor has the type that the graph says."""
        return self.major >= 10

    @property
    def precision_flags(self) -> tuple[str, ...]:
        """Narrow types that a weakly typed build has to be allowed one by one (`BuilderFlag.INT8`), in lower case."""
        return tuple(flag for since, flags in _FLAGS if self.weak and self >= Release(*since) for flag in flags)

    @property
    def trtexec_precisions(self) -> tuple[str, ...]:
        """The same as trtexec's options, without their dashes: from 11 on it ends at them with "Unknown option"."""
        return tuple(flag for flag in self.precision_flags if flag not in _NOT_IN_TRTEXEC)

    @property
    def calibration_caches(self) -> bool:
        """Whether a float file can be built with a calibration cache (`--calib`, deprecated since 10.1)."""
        return self.weak

    @property
    def times_alone(self) -> bool:
        """Whether trtexec by itself times kernels alone: no copies of inputs and outputs, CUDA graph, spinning, layers
        profiled in a run of their own. Before 11 each of these is an option, and figures without them differ."""
        return self.major >= _STRONG_ONLY

    @property
    def opset(self) -> int:
        """The newest opset that NVIDIA's table of operators is known to name for this version or one before it."""
        return [opset for since, opset in _OPSETS if self >= Release(*since)][-1]


RELEASES = (
    Release(8, 6),
    *(Release(10, minor) for minor in range(17)),
    *(Release(11, minor) for minor in range(5)),
)
NEWEST = RELEASES[-1]


class VersionError(ValueError):
    """A version that is none, or none that files are emitted for. `help` are cures."""

    def __init__(self, text: str, *help: str) -> None:
        super().__init__(text)
        self.help = help


def parse_version(text: str) -> Release:
    """The release that a recipe or TensorRT itself names: "10.3", "10.3.0", "10.16.1.11". Patch and build number part
    no two releases here. Raises VersionError."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise VersionError(
            f"`{text[:40]}` is not a version of TensorRT", 'write major and minor number, such as "10.3"'
        )
    release = Release(int(found[1]), int(found[2]))
    if release not in RELEASES:
        raise VersionError(f"files are not emitted for TensorRT {text[:40]}", *_known(release))
    return release


def cache_version(text: str) -> int:
    """The number in the first line of the calibration caches of a version, with its patch where the text has one: 8.x
    counts `major * 1000 + minor * 100 + patch` (8602 for 8.6.2), later ones `major * 10000 + ..` (100300 for 10.3.0).
    Raises VersionError."""
    release = parse_version(text)
    patch = int((*text.strip().split("."), "0")[2])
    return release.major * (1_000 if release.major < 10 else 10_000) + release.minor * 100 + patch


def _known(release: Release) -> tuple[str, ...]:
    near = nearest(str(release), map(str, RELEASES))
    close = f"the nearest are {' and '.join(near)}; " if near else ""
    return (f"{close}known are 8.6, 10.0 to 10.16, and 11.0 to {NEWEST}",)
