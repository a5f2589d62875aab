"""What a model was read from: the hash of the very bytes, and what the file system said of its files at that time."""

from __future__ import annotations

from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from typing import NamedTuple


class FileState(NamedTuple):
    """What changes with a file's content: size, time of the last change in nanoseconds, and the file's identity."""

    size: int
    changed: int
    inode: int


@dataclass(frozen=True, slots=True)
class Source:
    """A model file as it was read: the SHA-256 and number of its bytes, and its state before they were."""

    sha256: str
    size: int
    state: FileState


def state_of(path: Path) -> FileState:
    """The state of the file that is at `path` now; one that no file has where there is none."""
    try:
        return state_in(path.stat())
    except OSError:
        return FileState(-1, 0, 0)


def state_in(found: stat_result) -> FileState:
    return FileState(found.st_size, found.st_mtime_ns, found.st_ino)
