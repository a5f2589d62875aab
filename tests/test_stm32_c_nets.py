"""Networks of others in C: every tensor that a step leaves is the interpreter's, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from integer_random import planned, some_feeds
from test_stm32_c import CC, CHECKED, differing, wrong_nodes

from qdsl.integer.layout import stored
from qdsl.integer.lower import lower
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.records import Wish
from qdsl.targets.stm32.c.writing import write_c
from qdsl.targets.stm32.memory.planning import plan

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CC is None, reason="no C compiler on this computer")]

# Arena in bytes of what is int8 from end to end, with `optimize ram`; None: floats go in, and are most of it.
NETS = {"mlperf_vww_96_int8_qdq": 28_200, "mlperf_pretrainedResnet_quant_qdq": 25_952, "FastestDet": None}


@pytest.mark.parametrize("optimize", ["speed", "ram"])
@pytest.mark.parametrize("name", NETS)
def test_a_network_computes_every_tensor_of_the_interpreter(
    name: str, optimize: str, tmp_path: Path, testdata: Path
) -> None:
    model = onnx.load(testdata / "models" / f"{name}.onnx")
    proto = planned(model, some_feeds(model, 0)) if NETS[name] is None else model
    graph, wish = lower(proto, name), Wish("ram" if optimize == "ram" else "speed")
    placed = plan(graph, [call_of(op, graph, wish) for op in graph.ops], wish)
    sample = {}
    for key, array in some_feeds(proto, 1).items():
        codes = (array.astype(np.int16) - 128).astype(np.int8) if array.dtype == np.uint8 else array
        sample[key] = stored(graph.tensors[key], codes)
    files = write_c(graph, placed, tmp_path)
    assert wrong_nodes(graph, differing(files, graph, [sample], CHECKED)) == []
    if optimize == "ram" and NETS[name] is not None:
        assert files.arena <= NETS[name]
