"""The whole frontier of loss against one cost: every assignment that none beats in both, exactly.

Dynamic programming by dominance (Kellerer, Pferschy, Pisinger, Knapsack Problems, sections 3.4 and 11.5): unit by
unit, each partial assignment meets each option, and what costs as much and loses no less than another goes. What goes
could only have become part of assignments that the other makes better, so the result is the frontier itself. How many
points that takes depends on the sums that occur; beyond `MOST_POINTS` it is not followed, and the answer says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qdsl.search.problem import Assignment, Grown, Problem, Refusal
from qdsl.search.whole import Limbs, Row, Whole, added, falling, limbs_needed, most_loss, to_integers, to_limbs, whole

MOST_POINTS = 1 << 20

# Where partial assignments may stay, by costs [n], losses [limbs, n] and how many rows they decide.
Keep = Callable[[np.ndarray, Limbs, int], np.ndarray]


@dataclass(frozen=True, slots=True)
class Stage:
    """One row's decisions: for each point after it, the point before it and the choice of the row."""

    before: np.ndarray
    choice: np.ndarray


@dataclass(frozen=True, slots=True)
class Frontier:
    """Assignments by rising cost and falling loss: no assignment costs as much or less than one of them and loses less.

    `costs` int64 [n], `losses` float64 [n], the correctly rounded exact sums. Of assignments that are equal in both,
    the one with earlier options stands for all. `under_loss` takes a loss as it is when it is rounded to a float."""

    problem: Problem
    costs: np.ndarray
    losses: np.ndarray
    _rows: tuple[Row, ...]
    _stages: tuple[Stage, ...]

    def __len__(self) -> int:
        return len(self.costs)

    def assignment(self, at: int) -> Assignment:
        """The assignment of point `at`."""
        chosen: dict[str, str] = {}
        for row, stage in zip(reversed(self._rows), reversed(self._stages), strict=True):
            name = row.choices[stage.choice[at]].name
            chosen.update(dict.fromkeys(row.units, name))
            at = int(stage.before[at])
        return self.problem.assignment(chosen)

    def under_cost(self, bound: int) -> Assignment | None:
        """What loses least, and of that costs least, within a cost; None where nothing is within it."""
        at = int(np.searchsorted(self.costs, bound, side="right")) - 1
        return self.assignment(at) if at >= 0 else None

    def under_loss(self, bound: float) -> Assignment | None:
        """What costs least within a loss; None where everything loses more."""
        at = int(np.searchsorted(-self.losses, -bound, side="left"))
        return self.assignment(at) if at < len(self) else None


def frontier(problem: Problem, measure: str, cap: int = MOST_POINTS) -> Frontier | Refusal:
    """The frontier of loss against that measure. Raises ValueError as `whole` does and for an unknown measure."""
    at = problem.measures.index(measure)
    asked = whole(problem)
    return followed(problem, asked, at, cap) if isinstance(asked, Whole) else asked


def followed(problem: Problem, asked: Whole, at: int, cap: int, keep: Keep | None = None) -> Frontier | Grown:
    """The frontier against the measure at `at`; with `keep`, of what it lets stay."""
    rows = in_order(asked.rows, at)
    costs, losses = np.zeros(1, np.int64), to_limbs(0, limbs_needed(most_loss(rows)))
    stages = []
    for done, row in enumerate(rows, start=1):
        costs, losses, stage = _met(costs, losses, row, at)
        if keep is not None:
            stay = np.flatnonzero(keep(costs, losses, done))
            costs, losses, stage = costs[stay], losses[:, stay], Stage(stage.before[stay], stage.choice[stay])
        if len(costs) > cap:
            return Grown(cap, done)
        stages.append(stage)
    exact = to_integers(losses)
    return Frontier(problem, costs, np.array([asked.loss(value) for value in exact]), tuple(rows), tuple(stages))


def in_order(rows: Sequence[Row], at: int) -> list[Row]:
    """Rows whose costs differ most first: the frontier of few large steps stays small for longest."""

    def reach(row: Row) -> int:
        costs = [choice.costs[at] for choice in row.choices]
        return min(costs) - max(costs)

    return sorted(rows, key=reach)


def _met(costs: np.ndarray, losses: Limbs, row: Row, at: int) -> tuple[np.ndarray, Limbs, Stage]:
    """Every point with every choice of the row, without what another dominates."""
    before = len(costs)
    all_costs = np.concatenate([costs + choice.costs[at] for choice in row.choices])
    all_losses = np.concatenate([added(losses, to_limbs(choice.loss, len(losses))) for choice in row.choices], axis=1)
    order = np.argsort(all_costs, kind="stable")  # a merge: one sorted run per choice
    order = order[falling(all_losses[:, order])]
    kept = all_costs[order]
    order = order[np.append(kept[1:] != kept[:-1], True)]  # of those that cost the same, the last loses least
    return all_costs[order], all_losses[:, order], Stage((order % before).astype(np.int32), order // before)
