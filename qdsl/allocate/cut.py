"""Two labels for the nodes of a graph at the least cost: a minimum cut, by Dinic's maximum flow, in integers.

What a label costs a node, what it costs two nodes to have different ones, and what it costs unless a whole set of nodes
has the second label: every function of these has its minimum where a cut of least capacity parts source and sink
(Kolmogorov and Zabih, What energy functions can be minimized via graph cuts?, 2004, section 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import frexp, ldexp

# Costs become integers of at most so many bits, by a power of two: sums of them are exact, and what is equal stays so.
_BITS = 40
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Costs:
    """Of `count` nodes with the labels False and True. `labels` are the costs of (False, True) by node, `apart` those
    of two nodes with different labels, `unless` pairs of a cost and the nodes that all have to be True to be spared it.
    All costs are at least 0, in one unit."""

    labels: Sequence[tuple[float, float]]
    apart: Mapping[tuple[int, int], float] = field(default_factory=dict)
    unless: Sequence[tuple[float, tuple[int, ...]]] = ()

    def of(self, chosen: frozenset[int]) -> float:
        """What it costs that `chosen` are True and the others False."""
        total = sum(pair[at in chosen] for at, pair in enumerate(self.labels))
        total += sum(cost for (one, two), cost in self.apart.items() if (one in chosen) != (two in chosen))
        return total + sum(cost for cost, nodes in self.unless if not chosen.issuperset(nodes))


def least(costs: Costs, fixed: Mapping[int, bool]) -> frozenset[int]:
    """The nodes that are True where the whole costs least, of several such sets the smallest; `fixed` have a label
    already."""
    largest = max([1e-30, *(cost for pair in costs.labels for cost in pair), *costs.apart.values()])
    largest = max([largest, *(cost for cost, _ in costs.unless)])
    _, exponent = frexp(largest)
    count = len(costs.labels)
    flow = _Flow(count + 2 + len(costs.unless))
    source, sink = count, count + 1

    def whole(cost: float) -> int:
        return round(ldexp(cost, _BITS - exponent))

    # On the sink's side a node is False: then the arc from the source is cut.
    for node, (false, true) in enumerate(costs.labels):
        label = fixed.get(node)
        flow.arc(source, node, _NEVER if label is True else whole(false))
        flow.arc(node, sink, _NEVER if label is False else whole(true))
    for (one, two), cost in costs.apart.items():
        flow.arc(one, two, whole(cost), whole(cost))
    for at, (cost, nodes) in enumerate(costs.unless, count + 2):
        flow.arc(source, at, whole(cost))
        for node in nodes:
            flow.arc(at, node, _NEVER)
    flow.fill(source, sink)
    return frozenset(node for node in flow.reached(source) if node < count)


class _Flow:
    """A network of arcs in pairs: an arc at an even place and its way back at the next."""

    def __init__(self, count: int) -> None:
        self._out: list[list[int]] = [[] for _ in range(count)]
        self._to: list[int] = []
        self._room: list[int] = []

    def arc(self, tail: int, head: int, room: int, back: int = 0) -> None:
        if room or back:
            self._out[tail].append(len(self._to))
            self._out[head].append(len(self._to) + 1)
            self._to += [head, tail]
            self._room += [room, back]

    def fill(self, source: int, sink: int) -> None:
        """As much flow as fits (Dinic, 1970): shortest ways with room, all of one length at once, until there is
        none."""
        while True:
            level = self._levels(source)
            if sink not in level:
                return
            at = [0] * len(self._out)
            while self._push(source, sink, level, at):
                pass

    def reached(self, source: int) -> list[int]:
        """What the source still reaches: its side of the smallest cut."""
        return sorted(self._levels(source))

    def _levels(self, source: int) -> dict[int, int]:
        level, waiting = {source: 0}, deque([source])
        while waiting:
            node = waiting.popleft()
            for arc in self._out[node]:
                if self._room[arc] and self._to[arc] not in level:
                    level[self._to[arc]] = level[node] + 1
                    waiting.append(self._to[arc])
        return level

    def _push(self, source: int, sink: int, level: Mapping[int, int], at: list[int]) -> bool:
        """Fill one way from source to sink; False where none is left. `at` are the arcs of each node not yet tried."""
        way: list[int] = []
        node = source
        while node != sink:
            arc = self._next(node, level, at)
            if arc is not None:
                way.append(arc)
                node = self._to[arc]
            elif not way:
                return False
            else:
                node = self._to[way.pop() ^ 1]
                at[node] += 1
        room = min(self._room[arc] for arc in way)
        for arc in way:
            self._room[arc] -= room
            self._room[arc ^ 1] += room
        return True

    def _next(self, node: int, level: Mapping[int, int], at: list[int]) -> int | None:
        arcs = self._out[node]
        while at[node] < len(arcs):
            arc = arcs[at[node]]
            if self._room[arc] and level.get(self._to[arc], -1) == level[node] + 1:
                return arc
            at[node] += 1
        return None
