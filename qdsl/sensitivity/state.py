"""What was measured so far, sample by sample, on disk: an interrupted measurement goes on from there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from qdsl.spec.aside import replace_file
from qdsl.spec.bounds import Many, Number, UnfitError
from qdsl.spec.decode import decode, json_data

_LARGEST = 1 << 28
Sums = tuple[Annotated[float, Number(0.0)], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """One sample: by part of the outputs the `signal` of the float model and the noise of the model with everything
    quantized; the noise of each way of a unit, "unit choice" by their places, and of all but one unit."""

    signal: Sums
    whole: Sums
    alone: Mapping[str, Sums] = field(default_factory=dict)
    without: Mapping[str, Sums] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stored:
    key: str
    seen: Annotated[dict[str, Seen], Many(0, 1 << 24)]


class State:
    """By sample what was seen. `path` None: it is not kept."""

    def __init__(self, path: Path | None, key: str) -> None:
        """`key` is what the measurement depends on: of another one nothing is taken."""
        self._path, self._key = path, key
        self.seen: dict[int, Seen] = {}
        with suppress(OSError, UnicodeDecodeError, UnfitError, ValueError):
            if path is not None and path.is_file() and path.stat().st_size <= _LARGEST:
                found = decode(_Stored, json_data(path.read_text(encoding="utf-8")))
                self.seen = {int(name): each for name, each in found.seen.items()} if found.key == key else {}

    def add(self, index: int, seen: Seen) -> None:
        """What was seen of a sample, beside what is known of it."""
        old = self.seen.get(index)
        if old is not None:
            seen = replace(seen, alone={**old.alone, **seen.alone}, without={**old.without, **seen.without})
        self.seen[index] = seen

    def save(self) -> None:
        """A state that cannot be written is no reason to fail: it only saves time."""
        if self._path is None:
            return
        told = {str(name): asdict(self.seen[name]) for name in sorted(self.seen)}
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps({"key": self._key, "seen": told}).encode())

    def remove(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
