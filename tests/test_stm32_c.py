"""The C of an integer graph computes what the interpreter computes, to the bit, on this computer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from c_zoo import Zoo, placed

from qdsl.integer.interpret import run as interpret
from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.c.writing import write_c

CC = host.compiler()
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler on this computer")
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1")


def differing(
    graph: IntegerGraph, folder: Path, samples: list[dict[str, np.ndarray]], more: tuple[str, ...]
) -> list[str]:
    """The tensors that the C in `folder` computes otherwise than the interpreter, for some sample."""
    files = write_c(graph, placed(graph), folder)
    assert CC is not None
    host.build(folder, folder / "host", cc=CC, more=more, trace=True)
    ran = host.run(folder / "host", files, graph, samples, trace=True)
    found = []
    for sample, outputs, steps in zip(samples, ran.outputs, ran.steps, strict=True):
        expected = interpret(graph, sample, every=True)
        for name, array in [*steps.items(), *outputs.items()]:
            if array.tobytes() != expected[name].tobytes() and name not in found:
                found.append(name)
    return found


@needs_compiler
@pytest.mark.parametrize("seed", [1])
def test_every_operator_computes_what_the_interpreter_computes(seed: int, tmp_path: Path) -> None:
    zoo = Zoo(seed).all()
    graph = zoo.graph()
    wrong = differing(graph, tmp_path, [zoo.sample() for _ in range(3)], STRICT)
    assert [op.node for op in graph.ops if op.output in wrong] == []
