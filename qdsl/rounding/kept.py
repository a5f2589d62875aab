"""What was chosen so far, on disk: a weight each, so that an interruption costs one pass over the data."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np

from qdsl.rounding.choosing import Rounded
from qdsl.spec.aside import replace_file

_LARGEST = 1 << 30


class Kept:
    """Files below `folder`; None for none. `about` is a hash of all that the choices depend on, but for the weight. A
    file that cannot be written or read is no reason to fail: it only saves time."""

    def __init__(self, folder: Path | None, about: str) -> None:
        self._folder = folder
        self._about = about

    def load(self, name: str, shape: tuple[int, ...]) -> Rounded | None:
        """What is known of the weight `name`."""
        path = self._path(name)
        if path is None:
            return None
        try:
            if path.stat().st_size > _LARGEST:
                return None
            with path.open("rb") as file:
                told = json.loads(file.readline(1 << 10))
                codes = np.lib.format.read_array(file, allow_pickle=False)
            return Rounded(codes, float(told[0]), float(told[1])) if codes.shape == shape else None
        except (OSError, ValueError, TypeError, IndexError, EOFError, KeyError):
            return None

    def save(self, found: Mapping[str, Rounded]) -> None:
        for name, each in found.items():
            path = self._path(name)
            if path is None:
                return
            content = io.BytesIO()
            content.write(json.dumps([each.before, each.after]).encode() + b"\n")
            np.lib.format.write_array(content, each.codes, allow_pickle=False)
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, content.getvalue())

    def _path(self, name: str) -> Path | None:
        digest = sha256(f"{self._about}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()
        return None if self._folder is None else self._folder / digest[:32]
