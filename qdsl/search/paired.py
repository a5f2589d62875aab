"""Which of two builds is faster, from blocks of runs taken in turns.

A block gives one time per build, both measured within the same moments, so that a machine that slows down moves both.
The ratio of a block is free of such drift; the median over blocks is free of outliers. The interval for that median
comes from the order statistics of the ratios (the sign test turned round: Conover, Practical Nonparametric Statistics,
section 3.2), which assumes nothing about how noise is distributed and needs no random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

COVERAGE = 0.95
LEAST_GAIN = 1.01
LEAST_BLOCKS = 6  # fewer cannot give an interval of 95 % coverage


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratio` is the median of base / other over blocks: above 1, the other is faster. `low` and `high` bound that
    median with at least 95 % coverage. Times are medians over blocks, in milliseconds."""

    base_ms: float
    other_ms: float
    ratio: float
    low: float
    high: float
    blocks: int

    @property
    def helps(self) -> bool:
        """Whether the other build is faster beyond noise, and by enough to be worth a line."""
        return self.low > 1.0 and self.ratio >= LEAST_GAIN

    def __str__(self) -> str:
        times = f"{self.base_ms:.4g} to {self.other_ms:.4g} ms"
        return f"{self.ratio:.2f}x [{self.low:.2f}, {self.high:.2f}], {times}, {self.blocks} blocks"


def compare(base: Sequence[float], other: Sequence[float]) -> Comparison:
    """Compare times of equal blocks, in milliseconds. Raises ValueError for fewer than `LEAST_BLOCKS` blocks, for
    unequal numbers of them, and for times that are not positive."""
    if len(base) != len(other) or len(base) < LEAST_BLOCKS:
        raise ValueError(f"expected at least {LEAST_BLOCKS} blocks of each, found {len(base)} and {len(other)}")
    if not all(time > 0 for time in (*base, *other)):
        raise ValueError("a time is not positive")
    ratios = sorted(b / o for b, o in zip(base, other, strict=True))
    outside = _outside(len(ratios))
    return Comparison(
        base_ms=median(base),
        other_ms=median(other),
        ratio=median(ratios),
        low=ratios[outside],
        high=ratios[len(ratios) - 1 - outside],
        blocks=len(ratios),
    )


def _outside(count: int) -> int:
    """How many of `count` sorted values may lie below the interval, and as many above, for the coverage asked for."""
    tail, outside = 0.0, 0
    while True:
        tail += comb(count, outside) / 2**count
        if 2 * tail > 1 - COVERAGE:
            return max(0, outside - 1)
        outside += 1
