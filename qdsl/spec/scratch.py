"""Folders for passing work in the system's temporary folder. What a killed process left there goes, too."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qdsl.spec.aside import alive

try:
    import fcntl
except ImportError:  # no such locks on this system: then nothing but the block's end takes a folder away
    fcntl = None  # type: ignore[assignment]

_OURS = re.compile(r"qdsl-(?P<pid>\d+)-\w+")


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder that nobody else may enter, gone at the end. As long as the block lasts it is locked, and a lock
    ends with its process however that ends. OSError where there is no room."""
    folder = Path(tempfile.mkdtemp(prefix=f"qdsl-{os.getpid()}-"))
    handle = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def forget_dead_scratch() -> None:
    """Remove what processes of this user that are gone left. Both the name and the lock say that one is gone: a process
    number of another container means nothing here, and a folder just made is not locked yet."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            found = _OURS.fullmatch(entry.name)
            if found is not None and not alive(found["pid"]):
                _forget(Path(entry.path))


def _forget(folder: Path) -> None:
    handle = _locked(folder)
    if handle is None:
        return
    try:
        if os.fstat(handle).st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _locked(folder: Path) -> int | None:
    """What holds the lock until it is closed; None where another process has it, there are no locks, or `folder` is
    none (a link to one is none)."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
