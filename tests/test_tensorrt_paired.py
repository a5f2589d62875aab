"""`target tensorrt { version "8.6" }`: weights stand as floats behind a Q of their own, and compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import rtx_engine
from compile_tools import project
from onnx import ModelProto, numpy_helper
from rtx_engine import INT8, examine

import qdsl
from qdsl.diag import Severity
from qdsl.targets.as_written import AsWritten

HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static {{ calibrate minmax on calib }}
target tensorrt {{ {} }}
"""
X = np.random.default_rng(5).standard_normal((1, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = {}
    for settings in ('version "8.6"', 'device "jetson-agx-xavier"', 'version "10.3"'):
        folder = tmp_path_factory.mktemp("paired")
        recipe = project(folder, head=HEAD.format(settings))
        found[settings.split('"')[1]] = qdsl.compile(recipe, out=folder / "build", lock=False, measure=False).targets[0]
    return found


def emitted(target: Any) -> ModelProto:
    return onnx.load(target.emitted.model)


def constants(proto: ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def test_the_integers_are_those_that_later_versions_store(made: dict[str, Any]) -> None:
    later, proto = constants(emitted(made["10.3"])), emitted(made["8.6"])
    before = constants(proto)
    assert not [name for name, value in before.items() if value.dtype == np.int8 and value.any()], "no integers stored"
    weights = {name.removesuffix("_rounded"): value for name, value in before.items() if name.endswith("_rounded")}
    assert set(weights) == {f"w{number}" for number in range(1, 6)}
    for name in weights:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}_integers", onnx.TensorProto.INT8, None))
    path = made["8.6"].emitted.directory / "opened.onnx"
    onnx.save(proto, path)
    ran = AsWritten(path).run({"x": X})
    for name in weights:
        np.testing.assert_array_equal(ran[f"{name}_integers"], later[f"{name}_quantized"])


def test_what_it_computes_is_the_same_bit_for_bit(made: dict[str, Any]) -> None:
    outputs = [AsWritten(made[which].emitted.model).run({"x": X})["y"] for which in ("8.6", "10.3")]
    np.testing.assert_array_equal(*outputs)


def test_a_device_that_stays_at_8_6_gets_the_same_file(made: dict[str, Any]) -> None:
    assert [node.op_type for node in emitted(made["jetson-agx-xavier"]).graph.node] == [
        node.op_type for node in emitted(made["8.6"]).graph.node
    ]


def test_the_plan_says_so_and_how_large_the_file_gets(made: dict[str, Any]) -> None:
    early, later = made["8.6"], made["10.3"]
    assert early.plan.paired_weights and not later.plan.paired_weights
    assert early.emitted.size > later.emitted.size
    difference = early.plan.totals.predicted_bytes - later.plan.totals.predicted_bytes
    assert difference == pytest.approx(early.emitted.size - later.emitted.size, rel=0.1)
    assert [node.prediction for node in early.plan.nodes] == [node.prediction for node in later.plan.nodes]


def test_the_audit_finds_nothing_wrong_with_it(made: dict[str, Any]) -> None:
    report = qdsl.audit(made["8.6"].emitted.model, target="tensorrt").report
    assert [each.rule for each in report.findings if each.severity is Severity.ERROR] == []
    (section,) = report.sections
    planned = {node.node for node in made["8.6"].plan.nodes if node.prediction.runs == "integer"}
    assert {name for name, one in section.runs.items() if one.runs == "integer"} == planned


@pytest.mark.slow
@pytest.mark.rtx
@pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get")
def test_tensorrt_rtx_computes_it_in_int8(made: dict[str, Any]) -> None:
    seen = examine(emitted(made["8.6"]))
    assert {name for name, verdict in seen.verdicts.items() if verdict == INT8} == {
        "stem",
        "inner",
        "left",
        "right",
        "gemm",
    }
