"""An integer graph as calls that fit into a memory: layers quantized at run time compute their products twice where the
floats between would take too much.

A layer that runs twice never has its floats in memory, and what else lives at each step does not depend on which others
do. So a layer whose floats alone take more than there is has to run twice, and where those that have to suffice, no
choice takes fewer products. Where memory is too broken up for that, the cheapest further layers are tried one by one;
then all run twice, and the dearest are spared again while the plan still fits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from qdsl.integer.records import IntegerGraph, Op
from qdsl.targets.stm32.c.calls import call_of, products
from qdsl.targets.stm32.c.dynamic_calls import Twice, pairs, with_twice
from qdsl.targets.stm32.c.records import Call, Placed, Wish
from qdsl.targets.stm32.memory.fusing import Costs
from qdsl.targets.stm32.memory.planning import plan
from qdsl.targets.stm32.memory.tensors import computing

_TRIES = 8  # of layers beside those that have to run twice, one of which may suffice

Layer = tuple[Twice, tuple[Op, ...]]
Caller = Callable[[Op], Call]


def fitted(graph: IntegerGraph, wish: Wish, room: int | None = None, caller: Caller | None = None) -> Placed:
    """The calls of `graph` in a plan of memory, as `plan` makes it, with as few products computed twice as fit into
    `room` bytes (None: none are); with `optimize ram` as few as the smallest arena takes. `caller` is what finds the
    call of an operator. Raises ValueError for an operator that no kernel computes."""
    fitting = _Fitting(graph, wish, caller or (lambda op: call_of(op, graph, wish)))
    if not fitting.layers:
        return plan(graph, fitting.calls(()), wish, room)
    if wish.optimize == "ram":
        room = fitting.placed(fitting.layers, room).size
    return fitting.within(room)


class _Fitting:
    def __init__(self, graph: IntegerGraph, wish: Wish, caller: Caller) -> None:
        self._graph, self._wish, self._caller = graph, wish, caller
        self._known: dict[int, Call] = {}
        self._kept: list[Op] = []  # what `_known` numbers, so that no number is given again
        self.layers: list[Layer] = list(pairs(graph))

    def calls(self, chosen: Collection[Layer]) -> list[Call]:
        return [self._call(op) for op in with_twice(self._graph.ops, tuple(chosen))]

    def _call(self, op: Op) -> Call:
        if id(op) not in self._known:
            self._known[id(op)] = self._caller(op)
            self._kept.append(op)
        return self._known[id(op)]

    def placed(self, chosen: Sequence[Layer], room: int | None) -> Placed:
        return plan(self._graph, self.calls(chosen), self._wish, room)

    def within(self, room: int | None) -> Placed:
        if room is None:
            return self.placed((), None)
        chosen = [layer for layer in self.layers if self._takes(layer) > room]
        found = self.placed(chosen, room)
        if found.size <= room:
            return found
        left = sorted((layer for layer in self.layers if layer not in chosen), key=self._cost)
        for layer in left[:_TRIES]:
            tried = self.placed([*chosen, layer], room)
            if tried.size <= room:
                return tried
        found = self.placed(self.layers, room)
        while left and found.size <= room:
            spared = left.pop()
            tried = self.placed([*chosen, *left], room)
            if tried.size <= room:
                found = tried
            else:
                chosen.append(spared)
        return found

    def _cost(self, layer: Layer) -> int:
        return products(layer[0], self._graph)

    def _takes(self, layer: Layer) -> int:
        """What the arena holds at least while the floats of a layer are in it, whatever runs twice beside it."""
        others = [each for each in self.layers if each is not layer]
        calls = computing(self._graph, self.calls(others))
        costs = Costs(self._graph, calls)
        own = {op.output for op in layer[1]}
        return max(costs.of(at, at) for at, call in enumerate(calls) if call.op.output in own)
