"""Buffers at addresses of one arena: no two in each other's way while both live, in as few bytes as possible.

Two buffers that live at once are apart: whichever is below, the other begins at least a gap above it. The gap is the
size of the lower one, or less where a kernel writes behind what it has read. So a plan is which of two is the lower,
for every such pair; then everything sinks as far as it can. The search decides pair by pair, tightest first, and gives
up branches in which some buffer has no place left below the size that is tried: it ends with a plan and a proof that
there is none smaller, or, out of effort, with both as near to each other as they came.
"""

from __future__ import annotations

from qdsl.targets.stm32.memory.bound import bound_of
from qdsl.targets.stm32.memory.guesses import guess
from qdsl.targets.stm32.memory.orders import Search
from qdsl.targets.stm32.memory.problem import Arena, Effort, Problem

EFFORT = 1_000_000  # pairs of buffers looked at: two seconds


def arrange(problem: Problem, effort: Effort) -> Arena:
    """The smallest arena, proven (`bound` == `size`), or what `effort` leads to."""
    bound = bound_of(problem)
    best = guess(problem, bound, effort)
    low, high = bound, problem.end(best)  # nothing fits below `low`, something fits in `high`
    search = Search(problem)
    limit = low
    while limit < high and effort.left > 0:
        half = Effort(-(-effort.left // 2))
        effort.left -= half.left
        found = search.within(limit, half)
        effort.left += half.left
        if found.addresses is not None:
            best, high = found.addresses, problem.end(found.addresses)
        elif found.sure:
            low = limit + 1
        # What was not found with half of the effort is looked for above only.
        lowest = limit + 1 if found.addresses is None else low
        limit = (max(low, lowest) + high) // 2
    return Arena(tuple(best), high, low)
