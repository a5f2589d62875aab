"""What was tried so far, kept in the build's folder after each step: an interrupted compilation goes on from there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.allocate.task import Task
from qdsl.lang.recipe import Allocate
from qdsl.lock import Fingerprints, cpu_kind, tool_versions
from qdsl.spec import widths
from qdsl.spec.allocation import ALLOCATION_VERSION, Allocation, Estimates, Raced, Trial, file_name, text
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.work.assigned import Given
from qdsl.work.prepared import model_prints
from qdsl.work.writing import recipe_text, write_text

_LARGEST = 1 << 28  # bytes of a file that is read


@dataclass
class Kept:
    """The file of one target, and what stands in it. Trials of before are found by what was assigned. What writes
    raises QdslError artifact-write."""

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

    def exact(self, made: widths.Allocation) -> None:
        self._write(replace(self.found, exact=made))

    def settled(self, given: Given) -> None:
        """What came of it."""
        self._write(_with_end(self.found, given))

    def _write(self, found: Allocation) -> None:
        self.found = found
        write_text(self.path, text(found))


def kept(task: Task) -> Kept:
    """What an earlier compilation of the same recipe, model, data and tools left in the build's folder, or nothing
    yet. Raises QdslError data-missing, data-unreadable, and what reading labels raises."""
    path, key, spec = task.directory / file_name(task.target), _key(task), task.spec
    found = _read(path)
    if found is not None and found.key == key:
        return Kept(path, found)
    return Kept(path, Allocation(ALLOCATION_VERSION, task.target, spec.what, spec.minimize or "", key))


def from_lock(directory: Path, spec: Allocate, given: Given) -> None:
    """What a lock says of the end, where the build's folder has nothing of the search that ended so. Raises QdslError
    artifact-write."""
    target = given.decisions.plan.target
    path = directory / file_name(target)
    told = _with_end(Allocation(ALLOCATION_VERSION, target, spec.what, spec.minimize or "", ""), given)
    found = _read(path)
    if found is None or (found.evidence, found.lines) != (told.evidence, told.lines):
        write_text(path, text(told))


def _with_end(found: Allocation, given: Given) -> Allocation:
    assert given.outcome is not None, "the recipe allocates"
    return replace(found, evidence=given.outcome.evidence, lines=given.decisions.plan.assigned)


def _read(path: Path) -> Allocation | None:
    """What lies there; None where nothing does that can be gone on from."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        found = decode(Allocation, json_data(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, UnfitError):
        return None
    return found if found.version == ALLOCATION_VERSION else None


def _key(task: Task) -> str:
    digest = hashlib.sha256()
    for part in _parts(task):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _parts(task: Task) -> Iterator[str]:
    """What files hold counts, not when they were written: a copy of everything goes on from where this was."""
    found = task.measured
    yield recipe_text(task.prepared.recipe)
    yield from (repr(pair) for pair in model_prints(task.prepared, Fingerprints()))
    yield from (f"{name} {found.low[name]!r} {found.high[name]!r}" for name in sorted(found.low))
    yield from (f"{name} {means!r}" for name, means in sorted(found.means.items()))
    yield from (repr(pair) for pair in (*tool_versions(), *cpu_kind()))
    yield from (repr(file) for file in task.contents)
    yield from (f"{name} {dataset.ids!r}" for name, dataset in sorted(task.datasets.items()))
