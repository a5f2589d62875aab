"""What is asked of a score by gradients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """Which method, with which random directions. `epsilon` over the length of a weight is the deviation of the noise
    by which `gradient` moves it."""

    method: str
    seed: int
    trials: int
    epsilon: float
    classifier: bool | None = None
