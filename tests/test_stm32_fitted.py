"""Which layers run twice: as few products as fit, against every choice there is."""

from __future__ import annotations

from itertools import chain, combinations, pairwise

import numpy as np
import pytest

from qdsl.integer import records as r
from qdsl.targets.stm32.c.calls import call_of, products
from qdsl.targets.stm32.c.dynamic_calls import Twice, pairs, with_twice
from qdsl.targets.stm32.c.records import Placed, Wish
from qdsl.targets.stm32.memory.check import check
from qdsl.targets.stm32.memory.planning import plan
from qdsl.targets.stm32.placing import fitted


def network(*channels: int, skip: bool = False) -> r.IntegerGraph:
    """1 x 1 convolutions of 8 x 8, quantized at run time before each; with `skip` the first floats are added to the
    last."""
    tensors: dict[str, r.Tensor] = {}
    ops: list[r.Op] = []

    def tensor(name: str, *shape: int, dtype: r.Dtype = "float32") -> str:
        tensors[name] = r.Tensor(name, shape, dtype, tuple(range(len(shape))))
        return name

    at = tensor("x", 1, 8, 8, channels[0])
    for number, (ins, outs) in enumerate(pairwise(channels)):
        codes = tensor(f"q{number}", 1, 8, 8, ins, dtype="uint8"), tensor(f"e{number}", 2)
        ops.append(r.DynamicQuantize(f"d{number}", (at,), *codes))
        at = tensor(f"y{number}", 1, 8, 8, outs)
        weight, to = np.ones((outs, 1, 1, ins), np.int8), r.Floats(np.ones(1, np.float32))
        ops.append(r.Conv(f"c{number}", codes, at, weight, None, r.Window((1, 1)), to))
    if skip:
        ops.append(r.Binary("sum", ("y0", at), tensor("sum", 1, 8, 8, channels[1]), "add"))
    return r.IntegerGraph("net", ("x",), (ops[-1].output,), tensors, tuple(ops))


def cost(graph: r.IntegerGraph, placed: Placed) -> int:
    ran = [call.op for step in placed.steps for call in step.calls]
    return sum(products(op, graph) for op in ran if isinstance(op, Twice))


def every_plan(graph: r.IntegerGraph, wish: Wish) -> list[Placed]:
    layers = list(pairs(graph))
    choices = chain.from_iterable(combinations(layers, count) for count in range(len(layers) + 1))
    ops = (with_twice(graph.ops, choice) for choice in choices)
    return [plan(graph, [call_of(op, graph, wish) for op in each], wish) for each in ops]


@pytest.mark.parametrize(
    "graph",
    [network(4, 16, 8, 32, 4), network(2, 8, 48, 8, skip=True), network(16, 4, 4)],
    ids=["wide", "skip", "thin"],
)
def test_fewest_products_run_twice(graph: r.IntegerGraph) -> None:
    wish = Wish("speed")
    plans = every_plan(graph, wish)
    for room in sorted({placed.size for placed in plans}):
        found = fitted(graph, wish, room)
        assert found.size <= room and not check(graph, found)
        assert cost(graph, found) == min(cost(graph, placed) for placed in plans if placed.size <= room)


def test_smallest_arena() -> None:
    graph, wish = network(4, 16, 8, 32, 4), Wish("ram")
    plans = every_plan(graph, wish)
    found, least = fitted(graph, wish), min(placed.size for placed in plans)
    assert found.size == least
    assert cost(graph, found) == min(cost(graph, placed) for placed in plans if placed.size == least)


def test_nothing_runs_twice_where_there_is_room() -> None:
    graph = network(4, 16, 8, 32, 4)
    assert not cost(graph, fitted(graph, Wish("speed")))


def test_floats_that_others_read_are_kept() -> None:
    graph = network(4, 16, 8, 16, skip=True)
    assert [op.node for op, _ in pairs(graph)] == ["c1"]


def test_none_is_computed_twice_that_could_be_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what each layer takes by itself says nothing: one more by one, then all but those that can be spared."""
    graph, wish = network(4, 16, 8, 32, 4, 24, 8), Wish("speed")
    plans = every_plan(graph, wish)
    monkeypatch.setattr("qdsl.targets.stm32.placing._Fitting._takes", lambda *_: 0)
    for room in sorted({placed.size for placed in plans}):
        found = fitted(graph, wish, room)
        ran = [call.op for step in found.steps for call in step.calls if isinstance(call.op, Twice)]
        layers = [layer for layer in pairs(graph) if layer[0].output in {op.output for op in ran}]
        fewer = (with_twice(graph.ops, [other for other in layers if other is not layer]) for layer in layers)
        assert found.size <= room
        assert all(plan(graph, [call_of(op, graph, wish) for op in ops], wish).size > room for ops in fewer)
