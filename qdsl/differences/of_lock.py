"""A lock as a side of a comparison: its ranges, and the facts that it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256

from qdsl.differences.side import Side, Tensor
from qdsl.lock import Lock
from qdsl.spec.words import count

_DIGITS = 12  # of a hash: enough to tell two apart


def side_of_lock(lock: Lock, name: str) -> Side:
    several = Counter(found.tensor for found in lock.ranges)
    tensors = {
        f"{found.tensor} ({found.method})" if several[found.tensor] > 1 else found.tensor: Tensor(
            scheme=found.method, low=found.low, high=found.high
        )
        for found in lock.ranges
    }
    return Side(name=name, kind="lock", tensors=tensors, lines=tuple(_facts(lock)))


def _facts(lock: Lock) -> Iterator[str]:
    """What a lock depends on, short: the files of a dataset as their number and one hash of all."""
    for word, pairs in (
        ("recipe", lock.recipe),
        ("model", lock.model),
        ("capability", lock.capability),
        ("cache", lock.caches),
    ):
        yield from (f"{word} {key}: {digest[:_DIGITS]}" for key, digest in sorted(pairs))
    for word, pairs in (("tool", lock.tools), ("cpu", lock.cpu)):
        yield from (f"{word} {key}: {value}" for key, value in sorted(pairs))
    files = Counter(file.data for file in lock.data)
    for data, number in sorted(files.items()):
        yield f"data {data}: {count(number, 'file')}, {_together(lock, data)}"
    if lock.ranges:
        yield f"samples {lock.samples}, scales settled after {lock.settled}"
    for choice in sorted(lock.tuned):
        taken = "taken" if choice.taken else "left"
        yield f"tuned {choice.target} {choice.alternative} at {choice.node}: {taken}, {choice.evidence}"
    for outcome in sorted(lock.allocated):
        yield f"allocated {outcome.target}: {outcome.evidence}"
    for given in sorted(lock.assigned):
        yield f"assigned {given.target} {given.node}: {given.choice}"
    for one in sorted(lock.rounded):
        yield f"rounded {one.target} {one.tensor} {one.scheme}: {one.sha256[:_DIGITS]}"
    for mean in sorted(lock.means):
        digest = sha256(repr(mean.means).encode()).hexdigest()[:_DIGITS]
        yield f"means of {mean.tensor} on {mean.data}: {count(len(mean.means), 'channel')}, {digest}"


def _together(lock: Lock, data: str) -> str:
    every = "".join(f"{f.name} {f.times} {f.sha256}\n" for f in sorted(lock.data) if f.data == data)
    return sha256(every.encode()).hexdigest()[:_DIGITS]
