"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError


def require_place(path: Path) -> None:
    """Raise QdslError (artifact-write) when a folder `path` cannot be made or written: before hours of work, not after.
    Makes nothing."""
    at = path
    while not os.path.lexists(at) and at != at.parent:
        at = at.parent
    if not at.is_dir():
        reason = f"`{at}` is a file" if at.is_file() else f"`{at}` is not a folder"
    elif not os.access(at, os.W_OK | os.X_OK):
        reason = f"`{at}` may not be written" if at != path else "Permission denied"
    else:
        return
    raise QdslError([Diagnostic("artifact-write", f"`{path}` cannot be written: {reason}")])


def write_text(path: Path, text: str) -> None:
    """Write aside and rename, so that whoever reads `path` sees the old text or the new one.

    Raises QdslError (artifact-write).
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """The same for bytes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise QdslError([Diagnostic("artifact-write", f"`{path}` cannot be written: {reason}")]) from None


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
