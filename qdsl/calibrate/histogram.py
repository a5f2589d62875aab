"""How often each value occurs: every element counted, in bins that are the same for every tensor and never move.

A bin holds the float32 values that agree in sign, exponent and the first 7 bits of the mantissa: the upper half of
the bit pattern is the bin's number. So a tensor needs one pass and no range beforehand, counts of shards add up to the
counts of the whole, and the relative width of a bin is at most 2**-7 at any magnitude. Bins of equal width have to know
or grow their range, lose all detail near 0 to a single outlier, and cost a multiplication and a cast more per element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16
_SIGN = 1 << 15
# Elements at a time: numpy widens them to 8 bytes each, and 2 MB of those stay in a core's cache.
_BLOCK = 1 << 18
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def count(values: NDArray[Any], into: Counts) -> None:
    """Add every element of `values`, cast to float32, to the BINS counters `into`."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    upper = flat.view(np.uint16)[_upper_half() :: 2]
    for start in range(0, upper.size, _BLOCK):
        found = np.bincount(upper[start : start + _BLOCK])
        into[: found.size] += found


def _upper_half() -> int:
    """Where the upper 16 bits of a 32-bit number stand on this machine."""
    return int(np.array([1 << 16], np.uint32).view(np.uint16)[1] == 1)


@cache
def _edges() -> Floats:
    """Magnitudes at which bins begin: those of bin `i` lie in [edges[i], edges[i + 1]), for i < 2**15. Values under the
    smallest normal number are taken for 0."""
    bits = np.arange(_SIGN + 1, dtype=np.uint32) << 16
    with np.errstate(invalid="ignore"):  # patterns of NaN, never used as edges
        edges = bits.view(np.float32).astype(np.float64)
    edges[:128] = 0.0
    return edges


@dataclass(frozen=True)
class Bins:
    """Counts of values spread evenly over disjoint intervals [left, right] in increasing order."""

    left: Floats
    right: Floats
    counts: Counts

    def below(self, at: Floats) -> Floats:
        """How many values lie below each of `at`."""
        ends = np.column_stack((self.left, self.right)).reshape(-1)
        total = np.cumsum(self.counts)
        return np.asarray(np.interp(at, ends, np.column_stack((total - self.counts, total)).reshape(-1)))

    def within(self, low: float, high: float) -> Bins:
        """The same counts with no interval leaving [low, high]."""
        return Bins(np.clip(self.left, low, high), np.clip(self.right, low, high), self.counts)

    def picked(self, which: NDArray[np.bool_]) -> Bins:
        return Bins(self.left[which], self.right[which], self.counts[which])

    def mirrored(self) -> Bins:
        """The counts of -x."""
        return Bins(-self.right[::-1], -self.left[::-1], self.counts[::-1])

    def times(self, weight: int) -> Bins:
        return Bins(self.left, self.right, self.counts * weight)


def from_counts(counts: Counts, low: float, high: float) -> Bins:
    """The bins in use of one tensor whose smallest and largest value are known exactly."""
    edges = _edges()
    magnitudes = np.arange(_SIGN)
    infinite = magnitudes >= 0x7F80  # NaN has no place on the line; infinity only where a later map takes it away
    above = Bins(edges[:-1], np.where(infinite, np.inf, edges[1:]), np.where(magnitudes > 0x7F80, 0, counts[:_SIGN]))
    below = Bins(above.left, above.right, np.where(magnitudes > 0x7F80, 0, counts[_SIGN:])).mirrored()
    whole = Bins(*(np.concatenate(pair) for pair in zip(_parts(below), _parts(above), strict=True)))
    return whole.picked(whole.counts > 0).within(low, high)


def _parts(bins: Bins) -> tuple[Floats, Floats, Counts]:
    return bins.left, bins.right, bins.counts


@dataclass(frozen=True)
class Distribution:
    """The values of one tensor: several sets of bins, which may overlap each other."""

    parts: tuple[Bins, ...]

    @property
    def low(self) -> float:
        return min(float(p.left[0]) for p in self.parts if p.left.size) + 0.0

    @property
    def high(self) -> float:
        return max(float(p.right[-1]) for p in self.parts if p.right.size) + 0.0

    @property
    def total(self) -> int:
        return sum(int(p.counts.sum()) for p in self.parts)

    def below(self, at: Floats) -> Floats:
        """How many values lie below each of `at`, evenly spread within each bin."""
        return np.asarray(np.sum([p.below(at) for p in self.parts if p.counts.size], axis=0))

    def within(self, low: float, high: float) -> Distribution:
        """The distribution of the values cut at both ends."""
        return (
            self if (low, high) == (-np.inf, np.inf) else Distribution(tuple(p.within(low, high) for p in self.parts))
        )

    def magnitudes(self) -> Distribution:
        """The distribution of absolute values."""
        parts = []
        for part in self.parts:
            negative = part.left < 0
            parts += [part.picked(negative).mirrored().within(0.0, np.inf), part.picked(~negative)]
        return Distribution(tuple(p for p in parts if p.counts.size))

    def without_zeros(self) -> Distribution:
        """Without what any scale represents exactly."""
        parts = (p.picked((p.left != 0) | (p.right != 0)) for p in self.parts)
        return Distribution(tuple(p for p in parts if p.counts.size))

    def flat(self) -> Bins:
        """All bins one after the other, overlapping or not, in increasing order of their left ends."""
        left, right, counts = (np.concatenate([_parts(p)[i] for p in self.parts]) for i in range(3))
        order = np.argsort(left, kind="stable")
        return Bins(left[order], right[order], counts[order])


def union(parts: Sequence[Distribution]) -> Distribution:
    return Distribution(tuple(p for part in parts for p in part.parts if p.counts.size))
