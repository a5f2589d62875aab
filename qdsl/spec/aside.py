"""Files and folders that appear whole or not at all: written aside under a name of their own, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# `.NAME.PID-token.tmp`, and what earlier versions left: `.NAME.PID.tmp`, `.emit-token`, `.bench.tmp`.
_OURS = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)(-[0-9a-f]+)?\.tmp|\.emit-\w+|\.bench\.tmp", re.DOTALL)
_LONGEST = 100  # characters of a name that its temporary one repeats: together they stay within a file system's 255


def aside(path: Path) -> Path:
    """A name beside `path` that no other process and no other call uses."""
    return path.with_name(f".{_short(path.name)}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def replace_file(path: Path, content: bytes, mode: int | None = None) -> None:
    """Whoever reads `path` sees the old file or the new one, whoever else writes it at the same time. `mode` are its
    permissions, by default those of a new file. OSError where that fails, and then nothing is left."""
    with file_aside(path) as made:
        with made.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            made.chmod(mode)
        made.replace(path)


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """A name for a file beside `path`; what is still there at the end goes."""
    made = aside(path)
    try:
        yield made
    finally:
        with suppress(OSError):
            made.unlink()


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """A new folder beside `path`; what is still there at the end goes, with all that is in it."""
    made = aside(path)
    made.mkdir(parents=True)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def replace_folder(path: Path, made: Path) -> None:
    """Put the folder `made` in the place of `path`, whatever is there."""
    if not os.path.lexists(path):
        made.replace(path)
        return
    with folder_aside(path) as old:
        path.replace(old / path.name)
        made.replace(path)


def forget_dead(folder: Path, name: str | None = None) -> None:
    """Remove what processes that are gone left aside in `folder`; only of the file `name`, where it is given."""
    with suppress(OSError):
        for entry in sorted(folder.iterdir()):
            found = _OURS.fullmatch(entry.name)
            if found is None or (name is not None and found["name"] != _short(name)) or alive(found["pid"]):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _short(name: str) -> str:
    return name[:_LONGEST]


def alive(pid: str | None) -> bool:
    """Whether the process that made something is at work; None says nothing of it: such names are no longer made."""
    if pid is None:
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
