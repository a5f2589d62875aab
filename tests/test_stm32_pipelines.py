"""Plans of the crack classifiers, built as C on this computer: pipelines compute what the interpreter computes."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from integer_models import Net, crack_model

from qdsl.integer.interpret import run as interpret
from qdsl.integer.lower import lower
from qdsl.integer.records import Dense, IntegerGraph, Quantize
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.records import Call, Placed, Step, Wish
from qdsl.targets.stm32.c.writing import write_c
from qdsl.targets.stm32.memory.check import check
from qdsl.targets.stm32.memory.fusing import links
from qdsl.targets.stm32.memory.place import place
from qdsl.targets.stm32.memory.planning import plan
from qdsl.targets.stm32.memory.tensors import computing

CC = host.compiler()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CC is None, reason="no C compiler on this computer")]
SANE = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1", "-fsanitize=address,undefined")


def convolutions(net: Net) -> IntegerGraph:
    """From the image as int8 to what the classifier reads."""
    graph = lower(crack_model(net), net)
    if isinstance(graph.ops[0], Quantize):
        graph = replace(graph, inputs=(graph.ops[0].output,), ops=graph.ops[1:])
    dense = next(at for at, op in enumerate(graph.ops) if isinstance(op, Dense))
    return replace(graph, outputs=(graph.ops[dense].inputs[0],), ops=graph.ops[:dense])


def calls_of(graph: IntegerGraph, wish: Wish) -> tuple[Call, ...]:
    return computing(graph, [call_of(op, graph, wish) for op in graph.ops])


def longest(graph: IntegerGraph, calls: tuple[Call, ...]) -> Placed:
    """Pipelines of whatever may be in one."""
    cuts = [0, *(at + 1 for at, joined in enumerate(links(graph, calls)) if not joined), len(calls)]
    return place(graph, [Step(calls[a:b]) for a, b in pairwise(cuts)])


@pytest.mark.parametrize("net", ["v1", "v2"])
@pytest.mark.parametrize("how", ["ram", "longest"])
def test_c_with_pipelines(net: Net, how: str, tmp_path: Path) -> None:
    graph = convolutions(net)
    wish = Wish("ram")
    calls = calls_of(graph, wish)
    placed = longest(graph, calls) if how == "longest" else plan(graph, calls, wish)
    assert not check(graph, placed)
    most = max(len(step.calls) for step in placed.steps)
    assert most == 3 if how == "ram" else most > 3
    write_c(graph, placed, tmp_path)
    assert CC is not None
    host.build(tmp_path, tmp_path / "host", cc=CC, more=SANE)
    (image,) = graph.inputs
    draw = np.random.default_rng(5)
    samples = [{image: draw.integers(-128, 128, graph.tensors[image].shape).astype(np.int8)} for _ in range(2)]
    ran = host.run(tmp_path / "host", graph, samples)
    for sample, outputs in zip(samples, ran.outputs, strict=True):
        expected = interpret(graph, sample)
        assert {name: array.tobytes() for name, array in outputs.items()} == {
            name: array.tobytes() for name, array in expected.items()
        }


@pytest.mark.parametrize(("net", "name", "most"), [("v1", "MobileNetV1", 205_000), ("v2", "MobileNetV2", 260_000)])
def test_arenas_are_as_small_as_documented_and_proven(net: Net, name: str, most: int) -> None:
    graph = lower(crack_model(net), net, "int8")
    sizes = []
    for wish in (Wish("speed"), Wish("ram")):
        placed = plan(graph, [call_of(op, graph, wish) for op in graph.ops], wish)
        assert placed.size == placed.bound
        assert not check(graph, placed)
        sizes.append(f"{placed.size:,}")
    assert placed.size < most
    text = (Path(__file__).resolve().parent.parent / "docs" / "stm32.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if re.match(rf"\| {name}, width [0-9.]+ \|", line)]
    assert [cell.strip() for cell in row.split("|")[3:5]] == sizes
