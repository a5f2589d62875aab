"""Keep this process's standard output clean of what a library prints to its file descriptor.

HiGHS prints to descriptor 1 on some instances, whatever its options say, past `sys.stdout`. Results go there, often
into a pipe. What it prints waits in a buffer of C's, so that is emptied before the descriptor changes, and again before
it changes back."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

_TURN = Lock()


@contextmanager
def silent() -> Iterator[None]:
    """Within it, descriptor 1 leads nowhere. One at a time; nothing else of this process should print meanwhile."""
    with _TURN:
        if sys.stdout is not None:
            sys.stdout.flush()
        _flush()
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
            _flush()
            os.dup2(saved, 1)
            os.close(saved)


def _flush() -> None:
    """Empty the buffers of C's standard streams, where this system lets one ask for it."""
    with suppress(OSError, TypeError, AttributeError):  # there is no library of the process itself on Windows
        ctypes.CDLL(None).fflush(None)
