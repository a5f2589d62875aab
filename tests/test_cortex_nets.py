"""Crack classifiers in C on emulated Cortex-M: every output is the integer interpreter's, to the bit.

Needs arm-none-eabi-gcc and qemu-system-arm, and the pictures of ../shared/testdata; skips without.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from integer_models import Net, crack_model, crack_pictures

from qdsl.diag import QdslError
from qdsl.integer.lower import lower
from qdsl.integer.records import Dense, Requantize
from qdsl.spec.emulated import Emulated
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.records import Step, Wish
from qdsl.targets.stm32.c.writing import write_c
from qdsl.targets.stm32.emulated.cores import CORES
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.emulated.network import Network, emulated
from qdsl.targets.stm32.memory.place import place

pytestmark = [pytest.mark.slow, pytest.mark.board, pytest.mark.skipif(bool(tools().missing), reason=tools().missing)]


def on_core(net: Net, folder: Path, pictures: int, core: str = "cortex-m7") -> Emulated:
    graph = lower(crack_model(net), net, "int8")
    steps = [Step((call_of(op, graph, Wish()),)) for op in graph.ops]
    files = write_c(graph, place(graph, steps), folder / "c")
    samples = [{"images": picture} for picture in crack_pictures(pictures, net)]
    found = emulated(Network(folder / "c", graph, files.steps), samples, core, out=folder / "out")
    assert not isinstance(found, NotHere), found
    return found


@pytest.mark.parametrize(("core", "pictures"), [(core, 20 if core == "cortex-m7" else 2) for core in CORES])
def test_a_crack_classifier_computes_what_the_interpreter_computes(
    core: str, pictures: int, tmp_path: Path, testdata: Path
) -> None:
    rel = 5e-3 if "soft" in core else 1e-3  # what the compiler's own float arithmetic takes hangs on the values
    found = on_core("v1", tmp_path, pictures, core)
    assert found.exact == found.outputs == 2 * pictures and found.samples == pictures
    assert found.macs == sum(step.macs for step in found.steps) == 40_774_784
    assert sum(step.instructions for step in found.steps) == pytest.approx(found.instructions, rel=rel)
    assert 0 < found.stack < 2048


def test_c_that_computes_otherwise_is_caught(tmp_path: Path, testdata: Path) -> None:
    """An interpreter with one bias moved by a step of the output, against which the C is wrong."""
    graph = lower(crack_model("v1"), "v1", "int8")
    steps = [Step((call_of(op, graph, Wish()),)) for op in graph.ops]
    files = write_c(graph, place(graph, steps), tmp_path / "c")
    (dense,) = (op for op in graph.ops if isinstance(op, Dense))
    assert dense.bias is not None and isinstance(dense.to, Requantize)
    moved = replace(dense, bias=dense.bias + np.int32(round(1 / float(dense.to.scale.max()))))
    other = replace(graph, ops=tuple(moved if op is dense else op for op in graph.ops))
    samples = [{"images": picture} for picture in crack_pictures(1)]
    with pytest.raises(QdslError, match="c-differs"):
        emulated(Network(tmp_path / "c", other, files.steps), samples, out=tmp_path / "out")
