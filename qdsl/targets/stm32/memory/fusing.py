"""Which calls may run as one pipeline, and what the arena holds at least while they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.records import Call, Step
from qdsl.targets.stm32.memory.bound import height
from qdsl.targets.stm32.memory.lives import ends, shared
from qdsl.targets.stm32.memory.problem import Buffer, Problem
from qdsl.targets.stm32.memory.rows import by_rows, ring_rows
from qdsl.targets.stm32.memory.tensors import roots, row_of, size_of, written


def links(graph: IntegerGraph, calls: Sequence[Call]) -> tuple[bool, ...]:
    """For each two calls in a row, whether a pipeline may hold both: the second reads, row by row, the rows that the
    first writes, and nobody else does."""
    root = roots(graph)
    reads = Counter(root[name] for call in calls for name in call.op.inputs if name in root)
    reads.update(root[name] for name in graph.outputs if name in root)

    def linked(call: Call, reader: Call) -> bool:
        name = call.op.output
        return (
            call.rows
            and reader.rows
            and len(written(call.op)) == 1
            and reads[name] == 1
            and name in reader.op.inputs
            and by_rows(graph, reader, name)
        )

    return tuple(linked(call, reader) for call, reader in pairwise(calls))


class Costs:
    """What the arena holds at least at a step made of some calls: all that lives then, shared as far as it may be. It
    does not depend on how other calls are made into steps: what a pipeline keeps to itself nobody else sees."""

    def __init__(self, graph: IntegerGraph, calls: Sequence[Call]) -> None:
        self._graph, self._calls = graph, calls
        self._root = roots(graph)
        self._ends = ends(graph, [Step((call,)) for call in calls], self._root)
        self._known: dict[tuple[int, int], int] = {}

    def outside(self) -> int:
        """What lives before the first step or after the last one."""
        tensors, lives = self._graph.tensors, self._ends.items()
        given = [size_of(tensors[name]) for name, life in lives if life[0] == -1]
        left = [size_of(tensors[name]) for name, life in lives if life[1] == len(self._calls)]
        return max(_together(given), _together(left))

    def of(self, first: int, last: int) -> int:
        """At the step of calls `first` to `last`, both included."""
        if (first, last) not in self._known:
            self._known[first, last] = self._at(first, last)
        return self._known[first, last]

    def _at(self, first: int, last: int) -> int:
        graph, step = self._graph, Step(tuple(self._calls[first : last + 1]))
        rings = ring_rows(graph, step)
        alive = [name for name, (a, b) in self._ends.items() if a <= last and b >= first and name not in rings]
        sizes = [size_of(graph.tensors[name]) for name in alive]
        sizes += [rows * row_of(graph.tensors[name]) for name, rows in rings.items()]
        sizes.append(max(call.scratch for call in step.calls))
        output = self._root[step.calls[-1].op.output]
        gaps = {
            (alive.index(output), alive.index(name)): min(distance, sizes[alive.index(output)])
            for name, distance in shared(graph, step, self._root).items()
            if distance is not None and self._ends[name][1] <= last
        }
        return _together(sizes, gaps)


def _together(sizes: Sequence[int], gaps: Mapping[tuple[int, int], int] | None = None) -> int:
    """Bytes that take up so many each, all at once, with `gaps` as in `Problem`."""
    problem = Problem(tuple(Buffer("", size, 0, 0) for size in sizes), gaps or {})
    return height(problem, range(len(sizes)))
