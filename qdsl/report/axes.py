"""Axes: round values to put marks on, and where a value stands between them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1, 2, 5, 10)


def ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """About `most` values at steps of 1, 2 or 5 times a power of ten, the first at or below `low`, the last at or above
    `high`. Ends that are equal, or nearly, are moved apart."""
    if not high - low > max(1e-300, 1e-9 * max(abs(low), abs(high))):
        pad = abs(low) / 10 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * times for times in _STEPS if power * times >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(at * step for at in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows, with its unit, and the values of its marks, rising."""

    title: str
    marks: tuple[float, ...]

    @property
    def low(self) -> float:
        return self.marks[0]

    @property
    def high(self) -> float:
        return self.marks[-1]

    def place(self, value: float, start: float, end: float) -> float:
        """Where `value` stands between the places of the first mark and of the last; beyond them, at the nearer one."""
        share = (value - self.low) / (self.high - self.low)
        return start + min(1.0, max(0.0, share)) * (end - start)

    def words(self, value: float) -> str:
        """A mark's value, with as many decimals as tell the marks apart."""
        step = self.marks[1] - self.marks[0]
        if not 1e-6 <= step < 1e7:
            return f"{value:.6g}"
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        shown = f"{value:.{decimals}f}"
        return shown[1:] if float(shown) == 0 and shown.startswith("-") else shown


def axis(title: str, values: Iterable[float], *, zero: bool = False, most: int = 6) -> Axis:
    """An axis over the finite ones of `values`, with `zero` from or through zero."""
    known = [value for value in values if math.isfinite(value)] + ([0.0] if zero else [])
    return Axis(title, ticks(min(known, default=0.0), max(known, default=1.0), most))
