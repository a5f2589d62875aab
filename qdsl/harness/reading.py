"""Reads `measurements.json` strictly: whoever has it may have changed it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from qdsl.diag import Diagnostic, QdslError
from qdsl.harness.measurements import FORMAT, PICTURES, Measurements
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data, require_version

LARGEST = 64 << 20
_BLOCK = 1 << 20

_Made = TypeVar("_Made")


def read(path: Path) -> Measurements:
    """What `document` wrote; of the confidences, the quantiles. Raises QdslError: measurements-missing where there is
    no file, measurements-file where it is cut off, of another format, or holds anything that does not fit."""
    return opened(path, parsed)


def opened(path: Path, make: Callable[[str], _Made], help: Sequence[str] = ()) -> _Made:
    """What `make` makes of a file's text. Raises QdslError measurements-missing and measurements-file, with `help`."""
    try:
        if path.exists() and not path.is_file():
            _refuse(path, "it is a folder" if path.is_dir() else "it is not a file", help)
        with path.open("rb") as file:
            found = file.read(min(path.stat().st_size, LARGEST) + 1)  # so much room is taken before it is read
    except OSError as error:
        absent = isinstance(error, (FileNotFoundError, NotADirectoryError))
        headline = f"there is no `{path}`" if absent else f"`{path}` cannot be read: {error.strerror or error}"
        raise QdslError([Diagnostic("measurements-missing", headline, help=tuple(help))]) from None
    if len(found) > LARGEST:
        _refuse(path, f"it is larger than {LARGEST >> 20} MiB", help)
    try:
        return make(found.decode("utf-8"))
    except ValueError as error:
        _refuse(path, " ".join(str(error).split())[:300], help)


def _refuse(path: Path, why: str, help: Sequence[str]) -> NoReturn:
    headline = f"`{path}` is not a file of measurements that can be read"
    raise QdslError([Diagnostic("measurements-file", headline, label=why, help=tuple(help))])


def parsed(text: str) -> Measurements:
    """The same from the file's text. Raises UnfitError for what is not JSON and what does not fit."""
    return checked(json_data(text))


def checked(content: Any) -> Measurements:
    """The same from plain data. Raises UnfitError."""
    if isinstance(content, dict) and content.get("kind") == "device":
        raise UnfitError("it is what a device measured: `qdsl report BUILD --add FILE` takes it into a build")
    return decode(Measurements, require_version(content, "format", FORMAT), "measurements")


def require_same(directory: Path, found: Measurements) -> None:
    """Raises QdslError measurements-other where files in the build's folder are not those that were measured. A file
    that is not there is none: measurements may travel without the artifacts."""
    wanted = {Path(PICTURES, name): digest for name, digest in found.pictures.items()}
    for build in found.builds:
        wanted |= {Path(build.target, name): digest for name, digest in build.files.items()}
    other = [name.as_posix() for name, digest in wanted.items() if digest_of(directory / name) not in (None, digest)]
    if other:
        refuse_other(directory, other)


def refuse_other(directory: Path, names: Sequence[str]) -> NoReturn:
    """Raises QdslError measurements-other for files, by their names in the build's folder."""
    headline = f"`{directory}` holds other files than were measured: {named(names)}"
    raise QdslError([Diagnostic("measurements-other", headline)])


def named(names: Sequence[str]) -> str:
    """The first of some files, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"`{name}`" for name in names[:3]) + more


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, None where it is not there."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()
