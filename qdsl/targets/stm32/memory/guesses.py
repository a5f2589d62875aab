"""First plans: buffers taken one after another, each as low as those that were taken before let it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from qdsl.targets.stm32.memory.problem import Effort, Problem, aligned

_TURNS = 60


def guess(problem: Problem, bound: int, effort: Effort) -> list[int]:
    """The lowest of some plans; ends early with one that needs no more than `bound`. Large and long-lived buffers go
    first, then, again and again, whatever came to lie on top goes before what it lies over."""
    best: list[int] = []
    meeting: list[list[int]] = [[] for _ in problem.buffers]
    pairs = problem.pairs()
    for one, other in pairs:
        meeting[one].append(other)
        meeting[other].append(one)
    share = Effort(effort.left // 4)
    for order in _orders(problem):
        for turn in range(_TURNS):
            addresses = in_order(problem, order, meeting)
            effort.take(len(pairs))
            if not best or problem.end(addresses) < problem.end(best):
                best = addresses
            if problem.end(best) <= bound:
                return best
            if not share.take(len(pairs)):
                break
            top = max(order, key=lambda at: addresses[at] + problem.buffers[at].size)
            order = _earlier(order, order.index(top), turn)
    return best


def _orders(problem: Problem) -> list[list[int]]:
    numbers, buffers = range(len(problem.buffers)), problem.buffers

    def lives(at: int) -> int:
        return buffers[at].last - buffers[at].first + 1

    return [
        sorted(numbers, key=lambda at: (-buffers[at].size, buffers[at].first)),
        sorted(numbers, key=lambda at: (-buffers[at].size * lives(at), buffers[at].first)),
        sorted(numbers, key=lambda at: (-buffers[at].last, -buffers[at].size)),
        sorted(numbers, key=lambda at: (buffers[at].first, -buffers[at].size)),
    ]


def _earlier(order: Sequence[int], where: int, turn: int) -> list[int]:
    """One of an order moved to its front, or (the same each time) somewhere before its place."""
    to = 0 if turn % 3 == 0 else random.Random(turn).randint(0, where)
    rest = [at for place, at in enumerate(order) if place != where]
    return [*rest[:to], order[where], *rest[to:]]


def in_order(problem: Problem, order: Sequence[int], meeting: Sequence[Sequence[int]]) -> list[int]:
    """Addresses by taking buffers in this order, each to the lowest place that those it meets leave."""
    addresses = [0] * len(problem.buffers)
    placed: set[int] = set()
    for at in order:
        # Closed below, open above: where it cannot begin.
        taken = sorted(
            (addresses[other] - problem.gap(at, other) + 1, addresses[other] + problem.gap(other, at))
            for other in meeting[at]
            if other in placed
        )
        low = 0
        for start, end in taken:
            if low >= start:
                low = max(low, aligned(end, problem.buffers[at].align))
        addresses[at] = low
        placed.add(at)
    return addresses
