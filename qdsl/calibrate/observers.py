"""Observers: what is remembered of a tensor's values. Each can be fed any number of arrays and merged with another of
its kind, in any order, to the same state: samples may be shared out among workers and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray


class Observer(Protocol):
    """Remembers something of the values it is shown."""

    def update(self, values: NDArray[Any]) -> None:
        """Take in an array of any shape."""
        ...

    def merge(self, other: Self) -> None:
        """Take in everything that `other` has seen."""
        ...

    def state(self) -> tuple[float, ...]:
        """What is remembered, as plain numbers: equal states are equal observations."""
        ...


@dataclass(slots=True)
class MinMax:
    """The smallest and the largest value, exactly. NaN stays NaN. Before the first value: (inf, -inf)."""

    low: float = float("inf")
    high: float = float("-inf")

    def update(self, values: NDArray[Any]) -> None:
        if values.size:
            self.merge(MinMax(float(values.min()), float(values.max())))

    def merge(self, other: MinMax) -> None:
        self.low = _extreme(self.low, other.low, smaller=True)
        self.high = _extreme(self.high, other.high, smaller=False)

    def state(self) -> tuple[float, ...]:
        return (self.low, self.high)

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def _extreme(a: float, b: float, *, smaller: bool) -> float:
    """min or max that keeps NaN whichever side it is on, and has one zero: -0.0 would depend on the order."""
    if a != a or b != b:
        return float("nan")
    return (min(a, b) if smaller else max(a, b)) + 0.0
