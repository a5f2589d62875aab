"""Float32 and what is quantized at run time in C on emulated Cortex-M.

Needs arm-none-eabi-gcc and qemu-system-arm, and for the crack classifiers the pictures of ../shared/testdata; skips
without.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_zoo import DynamicZoo, FloatZoo
from integer_models import Net, crack_model, crack_pictures, fused, interpreted
from test_stm32_floats import wholly

from qdsl.integer.layout import as_onnx
from qdsl.integer.lower import lower
from qdsl.integer.records import IntegerGraph
from qdsl.spec.emulated import Emulated
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.boards import board_named
from qdsl.targets.stm32.c.records import Wish
from qdsl.targets.stm32.c.writing import write_c
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.emulated.network import Network, emulated
from qdsl.targets.stm32.making import make_c
from tests.saturation import has_vnni

pytestmark = [pytest.mark.slow, pytest.mark.board, pytest.mark.skipif(bool(tools().missing), reason=tools().missing)]
MIB = 1 << 20


def zoo_on_core(zoo: FloatZoo, core: str, folder: Path, *, twice: bool) -> Emulated:
    graph = zoo.graph()
    files = write_c(graph, wholly(graph, Wish(), twice), folder / "c")
    sample = {name: as_onnx(graph.tensors[name], array) for name, array in zoo.sample().items()}
    found = emulated(Network(folder / "c", graph, files.steps), [sample], core, out=folder / "out")
    assert not isinstance(found, NotHere), found
    return found


@pytest.mark.parametrize("core", ["cortex-m7", "cortex-m4", "cortex-m7 soft float"])
def test_floats_are_within_their_tolerance(core: str, tmp_path: Path) -> None:
    found = zoo_on_core(FloatZoo(3).all(), core, tmp_path, twice=False)
    assert 0 < found.apart <= 1e-5 and found.exact < found.outputs


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("core", ["cortex-m7", "cortex-m4", "cortex-m7 soft float"])
def test_what_is_quantized_at_run_time_is_exact(core: str, twice: bool, tmp_path: Path) -> None:
    found = zoo_on_core(DynamicZoo(5).all(), core, tmp_path, twice=twice)
    assert found.exact == found.outputs > 0


def classifier(graph: IntegerGraph, pictures: list[np.ndarray], folder: Path, core: str) -> Emulated:
    """For an STM32H7B3I-DK, whose largest memory has a mebibyte."""
    wanted = Asked(board_named("STM32H7B3I-DK"))
    made = make_c(graph, wanted, folder / "c")
    samples = [{"images": picture} for picture in pictures]
    found = emulated(Network(folder / "c", made.graph, made.files.steps), samples, core, out=folder / "out")
    assert not isinstance(found, NotHere), found
    return found


@pytest.mark.parametrize(
    ("net", "count", "core"), [("v1", 4, "cortex-m7"), ("v2", 2, "cortex-m7"), ("v1", 1, "cortex-m4")]
)
def test_a_crack_classifier_quantized_at_run_time_runs_within_a_mebibyte(
    net: Net, count: int, core: str, tmp_path: Path, testdata: Path
) -> None:
    """The interpreter's values to the bit, and ONNX Runtime's where its kernels add exactly: on a CPU with VNNI."""
    model, pictures = crack_model(net, "dynamic"), crack_pictures(count, net)
    graph = lower(model, net)
    found = classifier(graph, pictures, tmp_path, core)
    assert found.exact == found.outputs == 2 * count
    assert found.ram + found.stack <= MIB
    for picture in pictures if has_vnni() else []:
        mine, theirs = (
            each(given, {"images": picture})["logits"] for each, given in ((interpreted, graph), (fused, model))
        )
        assert np.abs(mine - theirs).max() <= 1e-6 * np.abs(theirs).max()
