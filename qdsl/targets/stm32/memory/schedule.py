"""Calls cut into steps: exact, over all places to cut, by what the arena holds at least at each step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from qdsl.targets.stm32.memory.fusing import Costs

Cuts = tuple[tuple[int, int], ...]  # the first and the last call of each step


class Schedule:
    """`links[i]`: calls i and i + 1 may be in one step."""

    def __init__(self, costs: Costs, links: Sequence[bool]) -> None:
        self._costs, self._links = costs, links
        self._count = len(links) + 1

    def least(self) -> int:
        """What no schedule goes below: the largest step's cost, where calls are cut to make that the smallest."""
        best = [self._costs.outside()]
        for last in range(self._count):
            best.append(min(max(best[first], self._costs.of(first, last)) for first in self._starts(last)))
        return best[-1]

    def fewest(self, limit: int, barred: Collection[Cuts] = ()) -> Cuts | None:
        """The steps whose costs are `limit` at most with the fewest calls in pipelines, then the fewest pipelines,
        among those that hold none of `barred` as steps in a row; None where there are none."""
        # For each count of calls, the best way to cut them, by how much of something barred it ends with.
        best: list[dict[Cuts, tuple[int, int, Cuts]]] = [{(): (0, 0, ())}]
        for last in range(self._count):
            ways: dict[Cuts, tuple[int, int, Cuts]] = {}
            for first in self._starts(last):
                if self._costs.of(first, last) > limit:
                    continue
                calls = 0 if first == last else last - first + 1
                for ending, before in best[first].items():
                    after = _follow(ending, (first, last), barred)
                    if after is not None:
                        way = (before[0] + calls, before[1] + (calls > 0), (*before[2], (first, last)))
                        ways[after] = min(way, ways.get(after, way))
            best.append(ways)
        return min(best[-1].values(), default=(0, 0, None))[2]

    def above(self, limit: int) -> int | None:
        """The least cost of a step above `limit`."""
        costs = (self._costs.of(first, last) for last in range(self._count) for first in self._starts(last))
        return min((cost for cost in costs if cost > limit), default=None)

    def _starts(self, last: int) -> Iterator[int]:
        """Where a step that ends with call `last` may begin."""
        yield last
        for first in range(last - 1, -1, -1):
            if not self._links[first]:
                return
            yield first


def _follow(ending: Cuts, cut: tuple[int, int], barred: Collection[Cuts]) -> Cuts | None:
    """Of steps that end with `ending` and then `cut`, the longest end that something barred begins with; None where
    they end with all of it."""
    recent = (*ending, cut)
    if any(recent[-len(each) :] == each for each in barred):
        return None
    ends = (recent[start:] for start in range(len(recent)))
    return next((end for end in ends if any(each[: len(end)] == end for each in barred)), ())
