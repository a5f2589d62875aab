"""Store equal constants once.

Fires on constants with the same element type, shape and bytes; the first in graph order stays and the others' readers
read it. One that is a graph output, or that a body reads by name, is never taken away, and neither are deferred and
sparse values, whose bytes are not at hand. Readers that share a constant are no obstacle to later stages: each
makes its own when it changes it.
Guarantees that no two constants it looked at are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from qdsl.graph.constants import Deferred, Lazy, Sparse, lazy_of
from qdsl.graph.edit import replace_all_uses
from qdsl.graph.model import Model
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite

_HEAD_BYTES = 4096


def distinct_initializers(model: Model) -> Iterator[str]:
    """No two stored constants with equal type, shape and bytes."""
    return (twin.name for _, twins in duplicates(model) for twin in twins)


@dataclass(frozen=True, slots=True)
class ShareInitializers(Rewrite):
    """No options."""

    name: ClassVar[str] = "share_initializers"
    summary: ClassVar[str] = "store equal constants once"
    ensures: ClassVar[tuple[Fact, ...]] = (distinct_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for first, twins in list(duplicates(model)):
            for twin in twins:
                changes.fire("share_initializer", [node.name for node in twin.outputs])
                replace_all_uses(model, twin, first)
        return changes.outcome()


def duplicates(model: Model) -> Iterator[tuple[gs.Constant, list[gs.Constant]]]:
    """Each constant that has equals, with those of them that can be taken away."""
    for alike in _grouped(_candidates(model), _kind):
        for same_head in _grouped(alike, lambda constant: _digest(constant, _HEAD_BYTES)):
            for equal in _grouped(same_head, lambda constant: _digest(constant, None)):
                twins = [twin for twin in equal[1:] if not model.is_open(twin)]
                if twins:
                    yield equal[0], twins


def _candidates(model: Model) -> list[gs.Constant]:
    return [one for one in model.constants() if not isinstance(lazy_of(one), Deferred | Sparse)]


def _grouped(constants: Iterable[gs.Constant], key: Callable[[gs.Constant], Hashable]) -> list[list[gs.Constant]]:
    """Constants with equal keys, in order; only groups of two and more."""
    groups: dict[Hashable, list[gs.Constant]] = {}
    for constant in constants:
        groups.setdefault(key(constant), []).append(constant)
    return [group for group in groups.values() if len(group) > 1]


def _kind(constant: gs.Constant) -> tuple[int, tuple[int, ...]]:
    value = lazy_of(constant)
    return value.element_type, value.shape


def _digest(constant: gs.Constant, most: int | None) -> bytes:
    """A hash of the first `most` bytes, or of all."""
    value: Lazy = lazy_of(constant)
    digest = hashlib.sha256()
    for piece in value.chunks() if most is None else (next(value.chunks(most), b""),):
        digest.update(piece)
    return digest.digest()
