"""The least loss under one bound, exactly: the frontier's recursion, without what the relaxation rules out.

Of each partial assignment, the relaxation of the rows that are still open says what it can lose at least within what
the bound leaves (Pisinger 1995, A minimal algorithm for the multiple-choice knapsack problem, section 3). Where that
is more than an assignment that is known, it goes. The bound is computed in floats, so it has to be passed by more
than their rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdsl.search.frontier import MOST_POINTS, followed, in_order
from qdsl.search.hull import Step, climbed, filled, steps
from qdsl.search.problem import Assignment, Grown, Problem, Refusal, Unreachable
from qdsl.search.whole import Limbs, Row, Whole, most_loss, relative, whole

SLACK = 1e-9  # of the largest loss there is: far above the rounding of sums of floats, far below what matters


@dataclass(frozen=True, slots=True)
class _Open:
    """What the rows that are still open lose at least, by what they may cost: the corners of a falling convex line."""

    budgets: np.ndarray
    losses: np.ndarray

    def least(self, budgets: np.ndarray) -> np.ndarray:
        """The least loss for each budget, infinite below the smallest cost."""
        found: np.ndarray = np.interp(budgets, self.budgets, self.losses)
        found[budgets < self.budgets[0]] = np.inf
        return found


def least_loss(problem: Problem, measure: str, bound: int, cap: int = MOST_POINTS) -> Assignment | Refusal:
    """The assignment that loses least within the bound, and of those that lose the same, the cheapest. Raises
    ValueError as `whole` does and for an unknown measure."""
    at = problem.measures.index(measure)
    asked = whole(problem)
    if not isinstance(asked, Whole):
        return asked
    rows = in_order(asked.rows, at)
    known = filled(rows, at, bound)
    if known is None:
        return Unreachable((measure,), cheapest(problem, asked, at))
    most = most_loss(rows)
    enough = sum(choice.loss for choice in known) / most + SLACK
    climbs = steps(rows, at)
    opened = [_open(rows, climbs, done, at, most) for done in range(len(rows) + 1)]

    def keep(costs: np.ndarray, losses: Limbs, done: int) -> np.ndarray:
        stay: np.ndarray = relative(losses, most) + opened[done].least(bound - costs) <= enough
        return stay

    found = followed(problem, asked, at, cap, keep)
    return found if isinstance(found, Grown) else found.assignment(len(found) - 1)


def cheapest(problem: Problem, asked: Whole, at: int) -> Assignment:
    """The assignment that costs least, and of those that cost the same, loses least."""
    chosen = {name: climbed(row, at)[0].name for row in asked.rows for name in row.units}
    return problem.assignment(chosen)


def _open(rows: Sequence[Row], climbs: Sequence[Step], done: int, at: int, most: int) -> _Open:
    """The relaxation of the rows from `done` on."""
    low = [climbed(row, at)[0] for row in rows[done:]]
    taken = [step for step in climbs if step.row >= done]
    costs = np.cumsum([sum(choice.costs[at] for choice in low), *(step.cost for step in taken)])
    losses = np.cumsum([sum(choice.loss for choice in low) / most, *(-step.saves / most for step in taken)])
    return _Open(costs.astype(np.float64), losses)
