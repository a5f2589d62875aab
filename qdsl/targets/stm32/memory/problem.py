"""Buffers that live for some steps, and how near to one another they may lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Buffer:
    """`size` bytes, needed from step `first` to step `last`, both included; its address is a multiple of `align`."""

    name: str
    size: int
    first: int
    last: int
    align: int = 4


@dataclass(frozen=True, slots=True)
class Problem:
    """`gaps[a, b]`: how many bytes buffer b begins above buffer a at least, where a is the lower of the two; 0 to the
    size of a, which holds for every other pair. Buffers are numbered as they stand."""

    buffers: tuple[Buffer, ...]
    gaps: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def meet(self, one: int, other: int) -> bool:
        """Whether both live at some step."""
        a, b = self.buffers[one], self.buffers[other]
        return a.first <= b.last and b.first <= a.last

    def pairs(self) -> list[tuple[int, int]]:
        """Those that meet, the lower number first."""
        numbers = range(len(self.buffers))
        return [(one, other) for one in numbers for other in numbers[one + 1 :] if self.meet(one, other)]

    def gap(self, below: int, above: int) -> int:
        return self.gaps.get((below, above), self.buffers[below].size)

    def during(self, first: int, last: int) -> Problem:
        """What lives in some steps, as if there were no others."""
        kept = [at for at, each in enumerate(self.buffers) if each.first <= last and each.last >= first]
        number = {at: new for new, at in enumerate(kept)}
        buffers = tuple(
            replace(each, first=max(first, each.first), last=min(last, each.last))
            for each in (self.buffers[at] for at in kept)
        )
        gaps = {(number[a], number[b]): gap for (a, b), gap in self.gaps.items() if a in number and b in number}
        return Problem(buffers, gaps)

    def end(self, addresses: list[int]) -> int:
        """Where the highest buffer ends."""
        return max((at + buffer.size for at, buffer in zip(addresses, self.buffers, strict=True)), default=0)


@dataclass(frozen=True, slots=True)
class Arena:
    """Addresses in the order of the buffers, `size` bytes in all; no plan of the problem needs less than `bound`."""

    addresses: tuple[int, ...]
    size: int
    bound: int


@dataclass(slots=True)
class Effort:
    """How much longer to search: pairs of buffers that may still be looked at, the same on every machine."""

    left: int

    def take(self, pairs: int) -> bool:
        """Whether there was any left."""
        self.left -= pairs
        return self.left + pairs > 0


def aligned(at: int, to: int) -> int:
    """The next multiple of `to` from `at` on."""
    return -(-at // to) * to
