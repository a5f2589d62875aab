"""Every operator on emulated Cortex-M cores: each output is the integer interpreter's, to the bit.

Needs arm-none-eabi-gcc and qemu-system-arm; skips without.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from c_zoo import Zoo, placed

from qdsl.integer.interpret import run as interpret
from qdsl.integer.rounding import Rounding
from qdsl.targets.stm32.c.records import Wish
from qdsl.targets.stm32.c.shapes import nbytes
from qdsl.targets.stm32.c.writing import write_c
from qdsl.targets.stm32.emulated.building import BuiltC, build
from qdsl.targets.stm32.emulated.cores import CORES
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.emulated.running import RanC, run

pytestmark = [pytest.mark.slow, pytest.mark.board, pytest.mark.skipif(bool(tools().missing), reason=tools().missing)]


@pytest.mark.parametrize(("core", "rounding"), list(product(CORES, ("ort", "tflite"))))
def test_every_operator_computes_what_the_interpreter_computes(core: str, rounding: Rounding, tmp_path: Path) -> None:
    zoo = Zoo(6).all()
    graph = zoo.graph()
    write_c(graph, placed(graph, Wish("ram" if "m4" in core else "speed", rounding)), tmp_path)
    built = build(tmp_path, tmp_path / "out", core)
    assert isinstance(built, BuiltC) and built.warnings == ()
    samples = [zoo.sample() for _ in range(2)]
    fed = [b"".join(np.ascontiguousarray(sample[name]).tobytes() for name in graph.inputs) for sample in samples]
    into, out = (sum(nbytes(graph.tensors[name]) for name in names) for names in (graph.inputs, graph.outputs))
    ran = run(built, fed, (into, out))
    assert isinstance(ran, RanC)
    wrong = set()
    for sample, found in zip(samples, ran.outputs, strict=True):
        expected = interpret(graph, sample, rounding=rounding)
        at = 0
        for name in graph.outputs:
            size = nbytes(graph.tensors[name])
            if found[at : at + size] != expected[name].tobytes():
                wrong.add(name)
            at += size
    assert [op.node for op in graph.ops if op.output in wrong] == []
