"""The integers that `round` chose, beside the lock: `<recipe>.weights.npz`, an array for each, named by its SHA-256.

The lock says which weight has which hash. The file comes from others: it is read without pickle, no more than a weight
takes is unpacked, and what comes out has to have the hash that the lock gives. Two files cannot be renamed at once:
until a new lock stands, the file has the integers of the old one, too: whichever of both is there finds its own.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.spec.aside import file_aside, forget_dead

SUFFIX = ".weights.npz"
_HEADER = 1 << 10  # bytes of an array's own header, and more
_LARGEST = 1 << 33
_MOST = 1 << 30  # bytes of one array that is kept from an older file
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take memory that they claim
_KINDS = (np.dtype(np.int8), np.dtype(np.uint8))
_NAME = re.compile(r"[0-9a-f]{64}\.npy")
_ABOUT = (1980, 1, 1, 0, 0, 0)  # a zip has no older time


class WeightsUnfitError(ValueError):
    """The file is not what the lock was written with; the message says how."""


def content(codes: NDArray[Any]) -> bytes:
    """Integers as an npy file: the same bytes on every machine."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(codes), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def digest(codes: NDArray[Any]) -> str:
    return hashlib.sha256(content(codes)).hexdigest()


def write(path: Path, weights: Iterable[NDArray[Any]]) -> None:
    """Write the integers, aside and renamed; those that are equal once. Raises OSError."""
    _write(path, _named(weights))


@contextmanager
def replacing(path: Path, weights: Iterable[NDArray[Any]]) -> Iterator[None]:
    """Put the integers in the place of those at `path` around the writing of the lock that names them: before it, they
    are added, and after it those that were there go; with no integers, the file goes. Raises OSError."""
    forget_dead(path.parent, path.name)
    new = _named(weights)
    with _archive(path) as old:
        kept = [] if old is None else [name for name in old.namelist() if _NAME.fullmatch(name) and name not in new]
        if new:
            _write(path, new, old, kept)
    yield
    with suppress(OSError):  # what is left of the old ones harms nobody
        if new and kept:
            _write(path, new)
        elif kept:
            path.unlink()


def forget(path: Path, hashes: Iterable[str]) -> None:
    """Take out what has none of the `hashes`: what stays where nobody came to do so after a lock was written. A file
    that cannot be read or written stays as it is."""
    names = {f"{one}.npy" for one in hashes}
    with _archive(path) as old:
        there = set() if old is None else set(old.namelist())
        if names < there:
            with suppress(OSError):
                _write(path, {}, old, sorted(names))


def _named(weights: Iterable[NDArray[Any]]) -> dict[str, bytes]:
    return {f"{hashlib.sha256(each).hexdigest()}.npy": each for each in map(content, weights)}


def _write(path: Path, new: Mapping[str, bytes], old: zipfile.ZipFile | None = None, kept: Iterable[str] = ()) -> None:
    """The arrays of `new`, and those of `old` that `kept` names, if they are what their names say."""
    names = sorted({*new, *kept})
    with file_aside(path) as made:
        with made.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name in names:
                    each = new[name] if name in new else _old(old, name)
                    if each is not None:
                        archive.writestr(zipfile.ZipInfo(name, _ABOUT), each, zipfile.ZIP_DEFLATED, 6)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)


def _old(archive: zipfile.ZipFile | None, name: str) -> bytes | None:
    if archive is None:
        return None
    try:
        data = _bytes(archive, name, _MOST)
    except Exception:  # as in `read`
        return None
    whole = len(data) <= _MOST and hashlib.sha256(data).hexdigest() == name.removesuffix(".npy")
    return data if whole else None


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile | None]:
    """The file as it is, None where there is none that can be read."""
    try:
        found = zipfile.ZipFile(path) if path.is_file() and path.stat().st_size <= _LARGEST else None
    except Exception:  # whatever a zip of others may lead to
        found = None
    try:
        yield found
    finally:
        if found is not None:
            found.close()


def read(path: Path, wanted: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The integers by their hashes: `wanted` says how many elements each has, of a byte. Raises WeightsUnfitError."""
    try:
        if not path.is_file():
            raise WeightsUnfitError("it is not there")
        if path.stat().st_size > _LARGEST:
            raise WeightsUnfitError("it is too large")
        with zipfile.ZipFile(path) as archive:
            return {name: _member(archive, name, count) for name, count in sorted(wanted.items())}
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise WeightsUnfitError(f"it cannot be read: {error}"[:200]) from None
    except Exception as error:  # zlib's, which has no other base
        if isinstance(error, WeightsUnfitError):
            raise
        raise WeightsUnfitError(f"it cannot be read: {type(error).__name__}") from None


def _member(archive: zipfile.ZipFile, name: str, count: int) -> NDArray[Any]:
    most = count + _HEADER
    try:
        data = _bytes(archive, f"{name}.npy", most)
    except KeyError:
        raise WeightsUnfitError(f"it has no integers {name[:12]}") from None
    if len(data) > most or hashlib.sha256(data).hexdigest() != name:
        raise WeightsUnfitError(f"its integers {name[:12]} are not those that were written")
    return _unpacked(data, name, count)


def _bytes(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """What `name` holds, cut off behind `most` bytes and one. Raises KeyError, WeightsUnfitError, and what a zip of
    others may lead to."""
    member = archive.getinfo(name)
    if member.compress_type not in _PACKED:
        raise WeightsUnfitError("it is packed by another method than deflate")
    with archive.open(member) as file:
        return file.read(most + 1)


def _unpacked(data: bytes, name: str, count: int) -> NDArray[Any]:
    """The array that `content` wrote: a hash may be of anything, and a header may claim any size."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    shape, by_column, kind = np.lib.format.read_array_header_1_0(stream)
    found: NDArray[Any] = np.frombuffer(data, np.uint8, offset=stream.tell())
    if version != (1, 0) or by_column or kind not in _KINDS or not found.size == count == prod(shape):
        raise WeightsUnfitError(f"its integers {name[:12]} have another shape or type")
    return found.view(kind).reshape(shape)
