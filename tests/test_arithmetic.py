"""The artifact as it runs beside the arithmetic of its file: on any CPU, by the emulation of one that saturates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import qdsl
from qdsl.cli import main
from qdsl.describe.render import render
from qdsl.findings.arithmetic import _steepest
from qdsl.targets.results import Fidelity
from tests.saturation import has_vnni

Array = NDArray[Any]
MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,16,12,12] x) => (float[1,16,12,12] y)
{ [conv1] a = Conv <pads=[1,1,1,1]> (x, w1) [relu1] b = Relu (a) [conv2] c = Conv <pads=[1,1,1,1]> (b, w2)
  [relu2] d = Relu (c) [conv3] y = Conv <pads=[1,1,1,1]> (d, w3) }"""
STATIC = """recipe demo
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static {{ weights {weights}; calibrate minmax on calib }}
target ort {{ {target} }}
"""
DYNAMIC = """recipe demo
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize dynamic {{ weights {weights} }}
layers all {{ weights {weights} }}
target ort {{ {target} }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three convolutions whose weights are of one sign: the worst that there is."""
    draw = np.random.default_rng(0)
    proto = onnx.parser.parse_model(MODEL)
    for name in ("w1", "w2", "w3"):
        weight = np.abs(draw.standard_normal((16, 16, 3, 3))).astype(np.float32) * 0.1
        proto.graph.initializer.append(numpy_helper.from_array(weight, name))
    onnx.save(proto, tmp_path / "model.onnx")
    np.savez(tmp_path / "calib.npz", x=draw.random((8, 16, 12, 12), dtype=np.float32))
    return tmp_path


def compiled(folder: Path, text: str, target: str = "", weights: str = "8 bit") -> qdsl.CompileResult:
    (folder / "demo.q").write_text(text.format(target=target, weights=weights))
    return qdsl.compile(folder / "demo.q", out=folder / "build", lock=False, measure=False)


@pytest.mark.parametrize("text", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_a_build_computes_what_its_file_says_on_this_cpu(folder: Path, text: str) -> None:
    found = compiled(folder, text).targets[0].verification
    (output,) = found.arithmetic
    assert found.exact
    assert output.apart_db is not None and output.apart_db >= 43
    assert output.planned_db is not None and output.planned_db > 30
    assert not found.partings


@pytest.mark.parametrize("text", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_a_build_for_other_cpus_is_found_out_on_this_one(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = compiled(folder, text, "cpu x86_vnni, arm_dotprod")
    found = result.targets[0].verification
    (output,) = found.arithmetic
    assert output.planned_db is not None and output.planned_db > 30
    assert found.exact == has_vnni()
    if has_vnni():
        return
    assert output.here_db is not None and output.here_db < output.planned_db - 5
    assert found.partings[0].tensor == ("b" if text is STATIC else "a")
    (told,) = (d for d in result.diagnostics if d.code == "kernels-differ")
    assert "take `cpu arm_dotprod, x86_vnni` out" in told.help[0]
    command = ["compile", str(folder / "demo.q"), "--out", str(folder / "build"), "--no-lock", "--no-measure"]
    assert main(command) == 0
    assert main([*command, "--strict"]) == 4
    assert "as this CPU computes" in capsys.readouterr().out


def test_the_runtimes_own_option_is_exact_and_keeps_the_weights(folder: Path) -> None:
    asked, held = compiled(folder, STATIC, "exact session"), compiled(folder, STATIC)
    free = compiled(folder, STATIC, "cpu x86_vnni, arm_dotprod")
    outputs = [one.targets[0].verification.arithmetic[0] for one in (asked, held, free)]
    assert asked.targets[0].verification.exact
    assert outputs[0].planned_db == outputs[2].planned_db  # the same integers
    assert outputs[1].planned_db is not None and outputs[0].planned_db is not None
    assert outputs[1].planned_db < outputs[0].planned_db


def test_the_plan_tells_what_it_costs_before_anything_runs(folder: Path) -> None:
    (folder / "demo.q").write_text(STATIC.format(target="", weights="8 bit"))
    (plan,) = qdsl.plan(folder / "demo.q").plans
    assert [(one.node, one.channels, one.wider) for one in plan.widened] == [
        (name, 16, 16) for name in ("conv1", "conv2", "conv3")
    ]
    assert all(1.2 < one.times <= 2 for one in plan.widened)
    told = render(plan)
    assert "exact: 48 of 48 channels of weights in wider steps" in told
    assert "no sum saturates on any CPU" in told
    (why,) = qdsl.explain(folder / "demo.q", "conv2")
    assert "16 of 16 channels in wider steps" in why.text
    (folder / "demo.q").write_text(STATIC.format(target="cpu x86_vnni", weights="8 bit"))
    assert not qdsl.plan(folder / "demo.q").plans[0].widened


def test_the_manifest_names_the_option(folder: Path) -> None:
    assert '"session.x64quantprecision": "1"' in compiled(folder, STATIC, "exact session").targets[
        0
    ].emitted.manifest.read_text(encoding="utf-8")
    assert "x64quantprecision" not in compiled(folder, STATIC).targets[0].emitted.manifest.read_text(encoding="utf-8")


def test_the_steepest_loss_is_against_the_tensor_before() -> None:
    levels = [float("inf"), float("inf"), 30.0, 12.0, 11.0, None, 10.5]
    layers = [Fidelity(f"t{i}", f"n{i}", level, None, None, 2) for i, level in enumerate(levels)]
    found = _steepest(layers, layers[3:])
    assert found is not None and found.node == "n3"
    found = _steepest(layers, layers[4:])
    assert found is not None and found.node == "n4"
    assert _steepest(layers, []) is None
