"""Writing a recipe back, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec.aside import forget_dead, replace_file


def replace(path: Path, text: str) -> None:
    """Write a text aside, then rename: whoever reads the file finds the old or the new text, never a part.

    Raises QdslError when the directory cannot be written.
    """
    real = path.resolve()
    try:
        forget_dead(real.parent, real.name)
        replace_file(real, text.encode("utf-8"), mode=real.stat().st_mode & 0o7777)
    except OSError as fault:
        headline = f"`{path}` cannot be written"
        raise QdslError([Diagnostic("file-unwritable", headline, None, fault.strerror or str(fault))]) from fault
