"""Smallest and largest values sample by sample, kept so that the order in which samples come does not matter."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

Entry = tuple[int, float]
# Every float64 is a whole number of these.
_UNIT_BITS = 1074


@dataclass(slots=True)
class Records:
    """The samples at which a tensor's range grew, had all samples been seen in dataset order.

    `lows` and `highs` hold (sample, value), values strictly falling and rising. A record of all samples is a record in
    whichever part of them it was seen in, so parts merge to the whole. About 2 ln(n) entries for n random samples.
    """

    lows: list[Entry] = field(default_factory=list)
    highs: list[Entry] = field(default_factory=list)

    def add(self, index: int, low: float, high: float) -> None:
        _insert(self.lows, index, low + 0.0, -1)
        _insert(self.highs, index, high + 0.0, 1)

    def merge(self, other: Records) -> None:
        for index, low in other.lows:
            _insert(self.lows, index, low, -1)
        for index, high in other.highs:
            _insert(self.highs, index, high, 1)

    @property
    def low(self) -> float:
        return self.lows[-1][1]

    @property
    def high(self) -> float:
        return self.highs[-1][1]

    def settled(self, growth: float) -> int:
        """The number of samples, in dataset order, after which none widened the range by more than `growth` of the
        width that it had."""
        lows, highs = dict(self.lows), dict(self.highs)
        first, *later = sorted({*lows, *highs})
        low, high, settled = lows[first], highs[first], first + 1
        for index in later:
            before = high - low
            low, high = lows.get(index, low), highs.get(index, high)
            if high - low > before * (1 + growth):
                settled = index + 1
        return settled


def _insert(entries: list[Entry], index: int, value: float, sign: int) -> None:
    """Put a value into a list of records; `sign` is 1 where larger values are records, -1 where smaller ones are."""
    place = bisect_left(entries, (index, -float("inf")))
    if place and sign * value <= sign * entries[place - 1][1]:
        return
    end = place
    while end < len(entries) and sign * entries[end][1] <= sign * value:
        end += 1
    entries[place:end] = [(index, value)]


@dataclass(slots=True)
class Means:
    """Exact sums of a tensor's smallest and of its largest values over samples, as whole numbers of 2**-1074."""

    low: int = 0
    high: int = 0
    samples: int = 0

    def add(self, low: float, high: float) -> None:
        self.low += _whole(low)
        self.high += _whole(high)
        self.samples += 1

    def merge(self, other: Means) -> None:
        self.low += other.low
        self.high += other.high
        self.samples += other.samples

    def range(self) -> tuple[float, float]:
        """Both means, each rounded once."""
        unit = self.samples << _UNIT_BITS
        return float(Fraction(self.low, unit)), float(Fraction(self.high, unit))


def _whole(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_UNIT_BITS + 1 - denominator.bit_length())


def span(parts: Iterable[str], seen: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """The range of the union of `parts`."""
    lows, highs = zip(*(seen[part] for part in parts), strict=True)
    return min(lows), max(highs)
