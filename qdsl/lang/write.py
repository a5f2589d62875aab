"""Writing a recipe back, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError


def replace(path: Path, text: str) -> None:
    """Write a text aside, then rename: whoever reads the file finds the old or the new text, never a part.

    Raises QdslError when the directory cannot be written.
    """
    real = path.resolve()
    try:
        handle, aside = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(text.encode("utf-8"))
                stream.flush()
                os.fsync(stream.fileno())
            Path(aside).chmod(real.stat().st_mode & 0o7777)
            Path(aside).replace(real)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as fault:
        headline = f"`{path}` cannot be written"
        raise QdslError([Diagnostic("file-unwritable", headline, None, fault.strerror or str(fault))]) from fault
