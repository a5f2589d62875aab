"""Every integer tensor of a whole network on other processors, by the real runtime under qemu.

Sums are exact everywhere. What is left between processors is how a QLinearAdd rounds what its two scales make of a tie.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import qdsl
from qdsl.diag import QdslError
from qdsl.harness import emulators

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(__file__).parent / "run_model.py"
CPUS = ("haswell", "cortex-a76", "cortex-a53")
PICTURES = 2
pytestmark = [pytest.mark.slow, pytest.mark.emulated]
Tensors = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """MobileNetV2 in integers, every quantized tensor an output."""
    try:
        emulators.require(emulators.cpus(CPUS))
    except QdslError as error:
        pytest.skip(error.diagnostics[0].headline)
    out = tmp_path_factory.mktemp("build")
    (made,) = qdsl.compile(ROOT / "recipes" / "cracks_v2_static.q", out=out, lock=False, measure=False).targets
    proto = onnx.load(made.emitted.model)
    zeros = {each.name: numpy_helper.to_array(each).dtype for each in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            kind = helper.np_dtype_to_tensor_dtype(zeros[node.input[2]])
            proto.graph.output.append(helper.make_tensor_value_info(node.output[0], kind, None))
    return proto


@pytest.fixture(scope="module")
def written(model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensors]:
    """All integer tensors, by processor; "here" is this one."""
    folder = tmp_path_factory.mktemp("runs")
    onnx.save(model, folder / "model.onnx")
    pictures = np.random.default_rng(5).integers(-128, 128, (PICTURES, 3, 224, 224)) / np.float32(128)
    np.save(folder / "x.npy", pictures.astype(np.float32))
    words = [str(SCRIPT), str(folder / "model.onnx"), str(folder / "x.npy")]
    subprocess.run([sys.executable, *words, str(folder / "here.npz")], check=True)
    for name in CPUS:
        with emulators.emulator(emulators.CPUS[name]) as cpu:
            environment = {**os.environ, **cpu.environment}
            subprocess.run([*cpu.words, *words, str(folder / f"{name}.npz")], check=True, env=environment)
    return {name: integers(folder / f"{name}.npz") for name in ("here", *CPUS)}


def integers(file: Path) -> Tensors:
    with np.load(file) as found:
        return {name: found[name] for name in found.files if found[name].dtype.kind in "iu"}


def before_adds(model: onnx.ModelProto) -> set[str]:
    """The tensors that no Add has to do with."""
    behind: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Add" or behind.intersection(node.input):
            behind.update(node.output)
    return {name for node in model.graph.node for name in node.output} - behind


def test_x86_without_vnni_writes_what_this_machine_does(written: dict[str, Tensors]) -> None:
    assert len(written["here"]) > 60
    assert [
        name for name, value in written["here"].items() if not np.array_equal(value, written["haswell"][name])
    ] == []


def test_arm_parts_from_x86_behind_an_add_at_the_earliest(model: onnx.ModelProto, written: dict[str, Tensors]) -> None:
    same = before_adds(model) & written["here"].keys()
    assert len(same) > 8
    for name in same:
        assert np.array_equal(written["cortex-a76"][name], written["here"][name]), name


def test_arm_with_and_without_the_dot_product_write_the_same(written: dict[str, Tensors]) -> None:
    for name, value in written["cortex-a76"].items():
        assert np.array_equal(value, written["cortex-a53"][name]), name


@pytest.mark.parametrize("name", CPUS)
def test_numpy_computes_there_what_it_computes_here(name: str) -> None:
    try:
        emulators.require(emulators.cpus([name]))
    except QdslError as error:
        pytest.skip(error.diagnostics[0].headline)
    text = "import numpy as np; x = np.arange(-32, 32, dtype=np.float32).reshape(4, 16)\n"
    text += (
        "for step in (1, 2, 3, 4): print(np.maximum(x[:, ::step], 0).sum(), (-x[:, ::step]).max(), x[:, ::step].min())"
    )
    with emulators.emulator(emulators.CPUS[name]) as cpu:
        there, here = (
            subprocess.run([*words, "-c", text], capture_output=True, text=True, check=True, env=environment).stdout
            for words, environment in ((cpu.words, {**os.environ, **cpu.environment}), ((sys.executable,), os.environ))
        )
    assert there == here
