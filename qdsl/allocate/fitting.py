"""An assignment whose file keeps to a size: the exact choice, held against the plan and then against the emitted file.

The bytes of a layer's weights depend on its own choice alone, but those of a file do not: a layer that computes in
float loses its int32 bias, and what stands around it may be written otherwise. So the sum over layers is short of the
file by something that depends on the assignment. The choice is made for a bound that is smaller by what the last
assignment was short of, until an assignment keeps the bound and nothing better is known to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from qdsl.allocate.problem import SIZE, Asked
from qdsl.search import LOSS, Assignment, Refusal, Unreachable, minimum

ROUNDS = 16
# Bytes of the file that `size` says for an assignment.
Size = Callable[[Assignment], int]


@dataclass(frozen=True, slots=True)
class Fitted:
    """An assignment and the bytes of its file; `offset` is what the file has beside the sum over its layers."""

    assignment: Assignment
    size: int

    @property
    def offset(self) -> int:
        return self.size - self.assignment.costs[0]


@dataclass(frozen=True, slots=True)
class TooSmall:
    """No assignment is known to keep the bound: the smallest that was found."""

    smallest: Fitted


def fitted(asked: Asked, bound: int | None, foreseen: Size, emitted: Size) -> Fitted | TooSmall | Refusal:
    """The assignment that loses least among those whose emitted file has at most `bound` bytes; None: no bound.
    `foreseen` is asked first, being quick, `emitted` decides."""
    if bound is None:
        found = minimum(asked.problem, LOSS, {})
        return Fitted(found, emitted(found)) if isinstance(found, Assignment) else found
    rough = _Search(asked, bound, foreseen).run(0)
    if not isinstance(rough, Fitted | TooSmall):
        return rough
    return _Search(asked, bound, emitted).run((rough.smallest if isinstance(rough, TooSmall) else rough).offset)


@dataclass
class _Search:
    """Every assignment that was looked at counts with its true size."""

    asked: Asked
    bound: int
    size: Size
    _known: dict[tuple[tuple[str, str], ...], Fitted] = field(default_factory=dict)
    _tried: set[int] = field(default_factory=set)

    def run(self, offset: int) -> Fitted | TooSmall | Refusal:
        """From a guess of the offset on."""
        for _ in range(ROUNDS):
            self._tried.add(offset)
            found = minimum(self.asked.problem, LOSS, {SIZE: self.bound - offset})
            if not isinstance(found, Assignment | Unreachable):
                return found
            looked = self._look(found.nearest if isinstance(found, Unreachable) else found)
            if looked.size > self.bound and isinstance(found, Unreachable):
                break
            offset = looked.offset
            if offset in self._tried:
                if self._held():
                    break
                offset = max(self._tried) + looked.size - self.bound
        held = self._held()
        if held:
            return min(held, key=lambda each: (each.assignment.loss, each.size))
        return TooSmall(min(self._known.values(), key=lambda each: each.size))

    def _look(self, found: Assignment) -> Fitted:
        if found.choices not in self._known:
            self._known[found.choices] = Fitted(found, self.size(found))
        return self._known[found.choices]

    def _held(self) -> list[Fitted]:
        return [each for each in self._known.values() if each.size <= self.bound]
