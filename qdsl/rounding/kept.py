"""What was chosen so far, on disk: a weight each, so that an interruption costs a pass over the data and one weight."""

from __future__ import annotations

import struct
from contextlib import suppress
from hashlib import sha256
from math import isfinite, prod
from pathlib import Path

import numpy as np

from qdsl.quant import storage_type
from qdsl.quant.guard import exact, guarded_limits
from qdsl.rounding.choosing import Rounded
from qdsl.spec import WeightKey
from qdsl.spec.aside import replace_file

_FIGURES = struct.Struct("<dd")  # before, after
_DIGEST = 32  # bytes: SHA-256 of all that follows it


class Kept:
    """Files below `folder`; None for none. `about` is a hash of all that the choices depend on, but for the weight. A
    file that cannot be written or read, is damaged or holds what the weight may not have is no reason to fail: it only
    saves time."""

    def __init__(self, folder: Path | None, about: str) -> None:
        self._folder = folder
        self._about = about

    def load(self, name: str, key: WeightKey, shape: tuple[int, ...]) -> Rounded | None:
        """What is known of the weight `key` of `shape`, kept as `name`."""
        path, kind = self._path(name), storage_type(key.scheme.dtype)
        size = _DIGEST + _FIGURES.size + prod(shape) * kind.itemsize
        try:
            if path is None or path.stat().st_size != size:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        told = content[_DIGEST:]
        if len(content) != size or sha256(told).digest() != content[:_DIGEST]:
            return None
        before, after = _FIGURES.unpack_from(told)
        codes = np.frombuffer(told, kind, offset=_FIGURES.size).reshape(shape)
        low, high = guarded_limits(key.scheme, key.guard)
        allowed = low <= int(codes.min()) and int(codes.max()) <= high and bool(exact(codes, key.guard).all())
        return Rounded(codes, before, after) if allowed and isfinite(before) and isfinite(after) else None

    def save(self, name: str, found: Rounded) -> None:
        """Keep a weight as `name`."""
        path = self._path(name)
        if path is None:
            return
        told = _FIGURES.pack(found.before, found.after) + np.ascontiguousarray(found.codes).tobytes()
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, sha256(told).digest() + told)

    def _path(self, name: str) -> Path | None:
        digest = sha256(f"{self._about}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()
        return None if self._folder is None else self._folder / digest[:32]
