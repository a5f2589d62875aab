"""A greedy walk over alternatives: each is tried on top of what was taken before, within a number of trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a try showed: whether it is taken, and why, in a few words."""

    taken: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class Trial(Generic[T]):
    """One region that was tried, with what it showed."""

    region: T
    attempt: Attempt


def walk(
    ladders: Sequence[Sequence[T]], trials: int, attempt: Callable[[tuple[T, ...], T], Attempt]
) -> tuple[Trial[T], ...]:
    """Try the regions of each ladder in order and stop climbing one at the first region that is not taken.

    `attempt` is given what was taken so far and the region to add. At most `trials` attempts are made; the rest of the
    regions stays untried.
    """
    made: list[Trial[T]] = []
    for ladder in ladders:
        for region in ladder:
            if len(made) >= trials:
                return tuple(made)
            taken = tuple(trial.region for trial in made if trial.attempt.taken)
            made.append(Trial(region, attempt(taken, region)))
            if not made[-1].attempt.taken:
                break
    return tuple(made)
