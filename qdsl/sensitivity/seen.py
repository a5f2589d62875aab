"""What measurements remember of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from qdsl.spec.bounds import Finite, Number

Sums = tuple[Annotated[float, Number(0.0)], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """By running: by part of the outputs the `signal` of the float model and the noise of the model with everything
    quantized; the noise of each way of a unit, "unit choice" by their places, and of all but one unit."""

    signal: Sums
    whole: Sums
    alone: Mapping[str, Sums] = field(default_factory=dict)
    without: Mapping[str, Sums] = field(default_factory=dict)

    def joined(self, other: Seen | None) -> Seen:
        """With what is known of the sample already."""
        if other is None:
            return self
        alone, without = {**other.alone, **self.alone}, {**other.without, **self.without}
        return Seen(self.signal, self.whole, alone, without)


@dataclass(frozen=True, slots=True)
class Scores:
    """By gradients: of each weight the score in each trial."""

    trials: Mapping[str, tuple[Finite, ...]]
