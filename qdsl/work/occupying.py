"""One process at a time works on a build folder, and what a killed one left behind goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qdsl.spec.aside import forget_dead
from qdsl.spec.scratch import forget_dead_scratch
from qdsl.work.writing import unwritable

try:
    import fcntl
except ImportError:  # no such locks on this system: folders are then not shared by several
    fcntl = None  # type: ignore[assignment]

_PAUSE = 0.1  # seconds between two looks at a folder that is in use


@contextmanager
def occupied(directory: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """`directory`, made where it is not there, for this caller alone: whoever comes second waits, and `waiting` hears
    why. The lock is the system's own: it ends with the process, however that ends, and leaves no file. Where the file
    system has no locks nobody waits. A folder that stays empty goes again. Raises QdslError (artifact-write)."""
    made = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    try:
        handle = _taken(directory, waiting)
    except OSError as error:
        raise unwritable(directory, error) from None
    try:
        yield
    finally:
        for each in made:
            with suppress(OSError):  # not empty: the usual case
                each.rmdir()
        os.close(handle)


def _taken(directory: Path, waiting: Callable[[str], None]) -> int:
    told = False
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
        state = _locked(handle)
        if state is None or (state and _same(handle, directory)):
            if state:
                _clean(directory)
            return handle
        os.close(handle)
        if not told:
            waiting(f"`{directory}` is in use by another process: waiting until it is done")
            told = True
        time.sleep(_PAUSE)


def _locked(handle: int) -> bool | None:
    """Whether the folder is now ours; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _same(handle: int, directory: Path) -> bool:
    """Whether the folder that was locked is still the one of that name: whoever left it may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), directory.stat())
    except OSError:
        return False


def _clean(directory: Path) -> None:
    forget_dead_scratch()
    forget_dead(directory)
    with suppress(OSError):
        for entry in sorted(directory.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                forget_dead(entry)
