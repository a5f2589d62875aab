"""Where TensorRT-RTX is installed: beside qdsl (its extra `rtx`), or in an environment of its own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError

VERSION = "1.7.1.116"
# The extra `rtx` asks for the same. The wheel without a part in its name only loads these two.
PACKAGES = tuple(f"tensorrt-rtx-cu13-{part}=={VERSION}" for part in ("libs", "bindings"))
MODULE = "tensorrt_rtx_bindings"
_WHOLE = "whole"  # the file that says of what the environment was made, once it was


@dataclass(frozen=True, slots=True)
class Place:
    """An interpreter that has it, and the options with which it looks at its own packages alone."""

    python: Path
    options: tuple[str, ...]


def folder() -> Path:
    """The environment of its own: $QDSL_RTX, else `qdsl-rtx` in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "").strip() or Path.home() / ".cache")
    return Path(os.environ.get("QDSL_RTX", "").strip() or cache / "qdsl-rtx")


def place() -> Place | None:
    """The running interpreter where the extra is installed, else the environment of its own; None where neither is.
    Nothing of TensorRT-RTX is loaded."""
    if find_spec(MODULE) is not None:
        return Place(Path(sys.executable), ("-P",))
    python = folder() / "bin" / "python"
    return Place(python, ("-I",)) if is_made() and python.exists() else None


def is_made() -> bool:
    """Whether the environment of its own was made to the end, of these packages."""
    try:
        return (folder() / _WHOLE).read_text(encoding="utf-8") == repr(PACKAGES)
    except (OSError, UnicodeDecodeError):
        return False


def mark_made() -> None:
    (folder() / _WHOLE).write_text(repr(PACKAGES), encoding="utf-8")


def require() -> Place:
    """Where it is. Raises QdslError rtx-absent."""
    found = place()
    if found is None:
        raise QdslError(
            [
                Diagnostic(
                    "rtx-absent",
                    "TensorRT-RTX is not installed",
                    help=(
                        "`pip install 'qdsl-compiler[rtx]'`, or `python -m qdsl.engines.rtx.get` for an environment of "
                        "its own (100 MB): it is NVIDIA's, proprietary, and whoever installs it accepts its licence",
                    ),
                )
            ]
        )
    return found
