"""What was measured so far, sample by sample, on disk: an interrupted measurement goes on from there."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from qdsl.spec.aside import replace_file
from qdsl.spec.bounds import Many, UnfitError
from qdsl.spec.decode import decode, json_data

SAVE_EVERY = 15.0  # seconds
_LARGEST = 1 << 28
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Stored:
    key: str
    seen: Annotated[dict[str, Any], Many(0, 1 << 24)]


class State(Generic[T]):
    """By sample what was seen, as a dataclass `kind`. `path` None: it is not kept."""

    def __init__(self, path: Path | None, key: str, kind: type[T]) -> None:
        """`key` is what the measurement depends on: of another one nothing is taken."""
        self._path, self._key, self._saved = path, key, time.monotonic()
        self.seen: dict[int, T] = {}
        with suppress(OSError, UnicodeDecodeError, UnfitError, ValueError):
            if path is not None and path.is_file() and path.stat().st_size <= _LARGEST:
                found = decode(_Stored, json_data(path.read_text(encoding="utf-8")))
                if found.key == key:
                    self.seen = {int(name): decode(kind, each) for name, each in found.seen.items()}

    def save(self, *, after: float = 0.0) -> None:
        """Write it, unless that was done less than `after` seconds ago. A state that cannot be written is no reason to
        fail: it only saves time."""
        if self._path is None or time.monotonic() - self._saved < after:
            return
        told = {str(name): asdict(self.seen[name]) for name in sorted(self.seen)}  # type: ignore[call-overload]
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps({"key": self._key, "seen": told}).encode())
        self._saved = time.monotonic()

    def remove(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
