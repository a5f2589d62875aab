"""What was tried so far, kept in the build's folder after each step: an interrupted compilation goes on from there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.allocate.task import Task
from qdsl.data import Dataset
from qdsl.lock import cpu_kind, tool_versions
from qdsl.spec.allocation import ALLOCATION_VERSION, Allocation, Estimates, Raced, Trial, file_name, text
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.work.writing import recipe_text, write_text

_LARGEST = 1 << 28  # bytes of a file that is read


@dataclass
class Kept:
    """The file of one target, and what stands in it. Trials of before are found by what was assigned."""

    path: Path
    found: Allocation

    def trial(self, assigned: dict[str, tuple[str, ...]]) -> Trial | None:
        return next((each for each in self.found.trials if dict(each.assigned) == assigned), None)

    def add(self, trial: Trial) -> None:
        self._write(replace(self.found, trials=(*self.found.trials, trial)))

    def estimated(self, estimates: Estimates, instead: str) -> None:
        self._write(replace(self.found, estimates=estimates, instead=instead))

    def end(self, taken: Trial, last: Raced | None) -> None:
        self._write(replace(self.found, taken=self.found.trials.index(taken), last=last))

    def _write(self, found: Allocation) -> None:
        self.found = found
        write_text(self.path, text(found))


def kept(task: Task) -> Kept:
    """What an earlier compilation of the same recipe, model, data and tools left in the build's folder, or nothing
    yet."""
    path, key, spec = task.directory / file_name(task.target), _key(task), task.spec
    try:
        if path.stat().st_size > _LARGEST:
            raise UnfitError("it is larger than any that was written")
        found = decode(Allocation, json_data(path.read_text(encoding="utf-8")))
        if found.version == ALLOCATION_VERSION and found.key == key:
            return Kept(path, found)
    except (OSError, UnicodeDecodeError, UnfitError):
        pass
    return Kept(path, Allocation(ALLOCATION_VERSION, task.target, spec.what, spec.minimize or "", key))


def _key(task: Task) -> str:
    digest = hashlib.sha256()
    for part in _parts(task):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _parts(task: Task) -> Iterator[str]:
    source, found = task.prepared.model.source, task.measured
    yield recipe_text(task.prepared.recipe)
    yield source.sha256 if source is not None else ""
    yield from (f"{state}" for state in task.prepared.states.values())
    yield from (f"{name} {found.low[name]!r} {found.high[name]!r}" for name in sorted(found.low))
    yield from (f"{name} {means!r}" for name, means in sorted(found.means.items()))
    yield from (repr(pair) for pair in (*tool_versions(), *cpu_kind()))
    for name, dataset in sorted(task.datasets.items()):
        yield name
        yield from _samples(dataset)


def _samples(dataset: Dataset) -> Iterator[str]:
    """Each sample by its name and what the file system says of its file."""
    for index, name in enumerate(dataset.ids):
        state = dataset.file(index)[1].stat()
        yield f"{name} {state.st_size} {state.st_mtime_ns}"
