"""What no arena can go below: the bytes of what lives at one step, shared as far as they may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations

from qdsl.targets.stm32.memory.problem import Problem, aligned

_ORDERS = 6  # buffers of which every order is tried


def bound_of(problem: Problem) -> int:
    """The largest `height` of any step."""
    return max((height(problem, alive) for alive in alive_sets(problem)), default=0)


def alive_sets(problem: Problem) -> list[tuple[int, ...]]:
    """What lives at each step at which something begins: whatever meets, meets there."""
    starts = sorted({buffer.first for buffer in problem.buffers})
    return [
        tuple(at for at, buffer in enumerate(problem.buffers) if buffer.first <= step <= buffer.last) for step in starts
    ]


def height(problem: Problem, alive: Sequence[int]) -> int:
    """Bytes that `alive` take at least, all of which live at one step. Those that share memory with one another,
    straight or through others, are packed as tightly as any order of them allows; between such groups nothing is."""
    if not alive:
        return 0
    grain = min(problem.buffers[at].align for at in alive)
    packed = [_packed(problem, group, grain) for group in _groups(problem, alive)]
    # What ends on top needs no padding behind it.
    return sum(aligned(size, grain) for size in packed) - max(aligned(size, grain) - size for size in packed)


def _groups(problem: Problem, alive: Sequence[int]) -> list[list[int]]:
    group = {at: [at] for at in alive}
    for one, other in problem.gaps:
        if one in group and other in group and group[one] is not group[other]:
            group[one] += group[other]
            for at in group[other]:
                group[at] = group[one]
    return list({id(each): each for each in group.values()}.values())


def _shares(problem: Problem, one: int, other: int) -> bool:
    return (one, other) in problem.gaps or (other, one) in problem.gaps


def _packed(problem: Problem, group: Sequence[int], grain: int) -> int:
    """The least height of a group: by every order of it, or of many, what those take that share nothing."""
    if len(group) <= _ORDERS:
        return min(_stacked(problem, order, grain) for order in permutations(group))
    apart: list[int] = []
    for at in sorted(group, key=lambda at: -problem.buffers[at].size):
        if not any(_shares(problem, at, other) for other in apart):
            apart.append(at)
    return sum(problem.buffers[at].size for at in apart)


def _stacked(problem: Problem, order: Iterable[int], grain: int) -> int:
    """The height of buffers that lie in this order, each as low as those before it let it."""
    placed: list[tuple[int, int]] = []
    for at in order:
        lowest = max((low + problem.gap(below, at) for below, low in placed), default=0)
        placed.append((at, aligned(lowest, grain)))
    return max(low + problem.buffers[at].size for at, low in placed)
