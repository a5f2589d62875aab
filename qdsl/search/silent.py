"""Keep this process's standard output clean of what a library prints to its file descriptor.

HiGHS prints to descriptor 1 on some instances, whatever its options say, past `sys.stdout`. Results go there, often
into a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

_TURN = Lock()


@contextmanager
def silent() -> Iterator[None]:
    """Within it, descriptor 1 leads nowhere. One at a time; nothing else of this process should print meanwhile."""
    with _TURN:
        if sys.stdout is not None:
            sys.stdout.flush()
        try:
            saved = os.dup(1)
        except OSError:  # closed: nothing can be printed there
            yield
            return
        try:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            yield
        finally:
            os.dup2(saved, 1)
            os.close(saved)
