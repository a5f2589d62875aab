"""The integers that `round` chose, beside the lock: `<recipe>.weights.npz`, an array for each, named by its SHA-256.

The lock says which weight has which hash. The file comes from others: it is read without pickle, no more than a weight
takes is unpacked, and what comes out has to have the hash that the lock gives.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.spec.aside import replace_file

SUFFIX = ".weights.npz"
_HEADER = 1 << 10  # bytes of an array's own header, and more
_LARGEST = 1 << 33
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
    known = {hashlib.sha256(each).hexdigest(): each for each in map(content, weights)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, each in sorted(known.items()):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ABOUT), each, zipfile.ZIP_DEFLATED, 6)
    replace_file(path, out.getvalue())


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
        with archive.open(f"{name}.npy") as member:
            data = member.read(most + 1)
    except KeyError:
        raise WeightsUnfitError(f"it has no integers {name[:12]}") from None
    if len(data) > most or hashlib.sha256(data).hexdigest() != name:
        raise WeightsUnfitError(f"its integers {name[:12]} are not those that were written")
    found: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return found
