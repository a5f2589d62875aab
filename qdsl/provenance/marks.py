"""What the lock has of one build, as marks: short hashes that tell which range, mean or choice a lock has otherwise.

A mark is eight hexadecimal digits of the hash of what is named and eight of the hash of its value. A lock covers all
targets of a recipe and a file is for one of them, so each fact is marked by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from qdsl.lock.types import DataFile, Lock
from qdsl.lock.words import number, quoted
from qdsl.provenance.records import MARK, DataUsed

_HALF = MARK // 2


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a lock that a build rests on: what it speaks of, in words, and its value."""

    about: str
    value: str

    @property
    def mark(self) -> str:
        return _short(self.about) + _short(self.value)


def facts(
    lock: Lock, target: str, tensors: Collection[str] | None = None, caches: Collection[str] | None = None
) -> Iterator[Fact]:
    """The ranges and means of a lock, of `tensors` alone where they are given, its calibration caches, of `caches`
    alone where they are given, and the choices for `target`."""
    for name, digest in lock.caches:
        if caches is None or name in caches:
            yield Fact(f"calibration cache {quoted(name)}", digest)
    for found in lock.ranges:
        if tensors is None or found.tensor in tensors:
            yield Fact(f"range of {quoted(found.tensor)}", f"{number(found.low)} {number(found.high)}")
    for mean in lock.means:
        if tensors is None or mean.tensor in tensors:
            yield Fact(f"means of {quoted(mean.tensor)}", " ".join(map(number, mean.means)))
    for choice in lock.tuned:
        if choice.target == target:
            yield Fact(f"{choice.alternative} at {quoted(choice.node)}", "taken" if choice.taken else "left")
    for one in lock.rounded:
        if one.target == target:
            yield Fact(f"integers of {quoted(one.tensor)} {one.scheme}", one.sha256)
    for given in lock.assigned:
        if given.target == target:
            yield Fact(f"allocated at {quoted(given.node)}", given.choice)


def marks(found: Iterable[Fact]) -> str:
    """Marks of facts, sorted, as one text."""
    return "".join(sorted(fact.mark for fact in found))


def split(marked: str) -> dict[str, str]:
    """The values' halves by the names' halves."""
    starts = range(0, len(marked), MARK)
    return {marked[at : at + _HALF]: marked[at + _HALF : at + MARK] for at in starts}


def data_used(files: Iterable[DataFile], names: Collection[str]) -> tuple[DataUsed, ...]:
    """What stands for the files of those datasets that are among `names`."""
    found: dict[str, list[DataFile]] = {}
    for file in sorted(files):
        if file.data in names:
            found.setdefault(file.data, []).append(file)
    return tuple(_used(name, each) for name, each in sorted(found.items()))


def _used(name: str, files: list[DataFile]) -> DataUsed:
    lines = "".join(f"{quoted(file.name)} {file.times} {file.sha256}\n" for file in files)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return DataUsed(name, len(files), sum(file.times for file in files), digest)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HALF]
