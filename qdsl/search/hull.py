"""The relaxation: units that may take parts of options, which bounds what is to be won and gives a first assignment.

For one cost it is solved by steps in the order of what they save per cost (Sinha and Zoltners 1979; Kellerer,
Pferschy, Pisinger, Knapsack Problems, section 11.2): from its cheapest choice a row climbs the lower hull of (cost,
loss). After each step stands a whole assignment of the frontier, a supported point of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from qdsl.search.whole import Choice, Row


@dataclass(frozen=True, slots=True)
class Step:
    """A row goes on to a dearer choice that saves loss."""

    row: int
    choice: Choice
    cost: int
    saves: int

    @property
    def rate(self) -> Fraction:
        """What it saves per cost."""
        return Fraction(self.saves, self.cost)


def climbed(row: Row, at: int) -> list[Choice]:
    """The choices on the lower hull, from the cheapest, by rising cost: each saves less per cost than the one
    before."""
    found: list[Choice] = []
    for choice in sorted(row.choices, key=lambda choice: (choice.costs[at], choice.loss)):
        if found and choice.loss >= found[-1].loss:
            continue
        while len(found) > 1 and not _bends(found[-2], found[-1], choice, at):
            found.pop()
        found.append(choice)
    return found


def _bends(first: Choice, middle: Choice, last: Choice, at: int) -> bool:
    """Whether `middle` lies below the line between the others."""
    rise = (first.loss - middle.loss) * (last.costs[at] - middle.costs[at])
    return rise > (middle.loss - last.loss) * (middle.costs[at] - first.costs[at])


def steps(rows: Sequence[Row], at: int) -> list[Step]:
    """All steps of all rows, those that save most per cost first; those of one row in their order."""
    found = []
    for index, row in enumerate(rows):
        hull = climbed(row, at)
        for low, high in pairwise(hull):
            found.append(Step(index, high, high.costs[at] - low.costs[at], low.loss - high.loss))
    return sorted(found, key=lambda step: (-step.rate, step.row))


def filled(rows: Sequence[Row], at: int, bound: int) -> list[Choice] | None:
    """A good assignment within the bound: every step that still fits, in order. None where the cheapest does not
    fit."""
    chosen = [climbed(row, at)[0] for row in rows]
    left = bound - sum(choice.costs[at] for choice in chosen)
    if left < 0:
        return None
    stuck: set[int] = set()
    for step in steps(rows, at):
        if step.row in stuck or step.cost > left:
            stuck.add(step.row)
            continue
        left -= step.cost
        chosen[step.row] = step.choice
    return chosen
