"""Calls of a graph to its plan: which run as one pipeline, and where everything lies.

Steps are asked for that hold no more at once than there is room for, with the fewest calls in pipelines. Where they
need more room all the same, the shortest run of steps that already shows it is barred, and others are asked for, until
some can be placed or none is left, which proves that more room is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.records import Call, Placed, Step, Wish
from qdsl.targets.stm32.memory.arena import EFFORT, arrange
from qdsl.targets.stm32.memory.fusing import Costs, links
from qdsl.targets.stm32.memory.lives import lives
from qdsl.targets.stm32.memory.place import place
from qdsl.targets.stm32.memory.problem import Effort, Problem
from qdsl.targets.stm32.memory.schedule import Cuts, Schedule
from qdsl.targets.stm32.memory.tensors import computing

_TRIES = 100  # of schedules that are placed


def plan(
    graph: IntegerGraph, calls: Sequence[Call], wish: Wish, room: int | None = None, effort: int = EFFORT
) -> Placed:
    """The steps of `calls` and where their tensors lie. `optimize ram`: the smallest arena, then the fewest calls in
    pipelines. `optimize speed`: no pipelines where the arena takes at most `room` bytes without (None: any); else those
    with the fewest calls that fit; where none do, the smallest arena. `effort` bounds the search (`arena.EFFORT`)."""
    planning = _Planning(graph, computing(graph, calls), Effort(effort))
    if wish.optimize == "ram":
        return planning.smallest()
    if room is None or planning.single.size <= room:
        return planning.single
    return planning.within(room) or planning.smallest()


class _Planning:
    def __init__(self, graph: IntegerGraph, calls: tuple[Call, ...], effort: Effort) -> None:
        self._graph, self._calls, self._effort = graph, calls, effort
        self._schedule = Schedule(Costs(graph, calls), links(graph, calls))
        self._barred: dict[Cuts, int] = {}  # what such steps in a row need at least
        self._tries = _TRIES
        self._sure = True  # that whatever is barred is for a reason
        # One step for each call.
        self.single = place(graph, [Step((call,)) for call in calls], effort)
        self._best = self.single

    def smallest(self) -> Placed:
        """In as little room as there is a plan for; `bound` is below that only where the search was given up."""
        limit = self._schedule.least()
        while self._tries and self._sure:
            placed = self.within(limit)
            if placed is not None:
                return replace(placed, bound=limit)
            if self._tries and self._sure:
                limit = self._next(limit)
        return replace(self._best, bound=limit)

    def _next(self, limit: int) -> int:
        """The least room above `limit` in which there may be a plan, where in `limit` there is none."""
        more = (self._schedule.above(limit), *self._barred.values())
        return min(need for need in more if need is not None and need > limit)

    def within(self, limit: int) -> Placed | None:
        """In `limit` bytes, with the fewest calls in pipelines."""
        while self._tries:
            self._tries -= 1
            cuts = self._schedule.fewest(limit, [each for each, need in self._barred.items() if need > limit])
            if cuts is None:
                return None
            steps = [Step(self._calls[first : last + 1]) for first, last in cuts]
            placed = place(self._graph, steps, self._effort)
            if placed.size <= limit:
                return placed
            self._best = min(self._best, placed, key=lambda each: each.size)
            self._bar(cuts, lives(self._graph, steps).problem, limit, placed)
        return None

    def _bar(self, cuts: Cuts, problem: Problem, limit: int, placed: Placed) -> None:
        """The shortest run of steps that needs more than `limit` bytes; all of them where that is not proven."""
        if placed.bound <= limit:
            self._sure = False
            self._barred[cuts] = placed.size
            return

        def needs(first: int, last: int) -> int:
            return arrange(problem.during(first, last), self._effort).bound

        last = next(at for at in range(len(cuts)) if at == len(cuts) - 1 or needs(0, at) > limit)
        first = next(at for at in range(last, -1, -1) if at == 0 or needs(at, last) > limit)
        self._barred[cuts[first : last + 1]] = (
            needs(first, last) if (first, last) != (0, len(cuts) - 1) else placed.bound
        )
