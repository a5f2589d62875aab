"""One call for every goal: by the frontier's recursion where one bound stands, by HiGHS where there are several."""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.search.bounded import least_loss
from qdsl.search.frontier import MOST_POINTS, Frontier, frontier
from qdsl.search.problem import LOSS, Assignment, Problem, Refusal, Unreachable
from qdsl.search.several import best, least
from qdsl.search.whole import Whole, whole


def minimum(problem: Problem, goal: str, bounds: Mapping[str, float], cap: int = MOST_POINTS) -> Assignment | Refusal:
    """The assignment with the least `goal` ("loss" or a measure) under every bound, by "loss" or measure. With at
    most one bound, loss on one side, it is exact, and without scipy; a frontier beyond `cap` is `Grown`. Raises what
    `least` does."""
    names = (goal, *bounds)
    if len(names) == 1:
        asked = whole(problem)
        return best(problem, asked, goal) if isinstance(asked, Whole) else asked
    if len(names) > 2 or names.count(LOSS) != 1:
        return least(problem, goal, bounds)
    if goal == LOSS:
        return least_loss(problem, names[1], int(bounds[names[1]] // 1), cap)
    return _least_cost(problem, goal, bounds[LOSS], cap)


def _least_cost(problem: Problem, measure: str, bound: float, cap: int) -> Assignment | Refusal:
    found = frontier(problem, measure, cap)
    if not isinstance(found, Frontier):
        return found
    within = found.under_loss(bound)
    return Unreachable((LOSS,), found.assignment(len(found) - 1)) if within is None else within
