"""ConvTranspose for TensorRT: one scale for its weight, whatever its groups and strides are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import project
from onnx import ModelProto, numpy_helper

import qdsl

HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static {{ {}calibrate minmax on calib }}
target tensorrt
"""
NET = """net (float[1, 4, 6, 6] x) => (float[1, 6, 16, 16] y) {
  [plain] a = ConvTranspose <strides = [2, 2]> (x, w0, b0)
  [grouped] b = ConvTranspose <group = 2> (a, w1)
  [dilated] y = ConvTranspose <dilations = [2, 2]> (b, w2)
}"""
SHAPES = {"w0": (4, 6, 2, 2), "b0": (6,), "w1": (6, 3, 2, 2), "w2": (6, 6, 2, 2)}


def transposed() -> ModelProto:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {NET}')
    draw = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        proto.graph.initializer.append(numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), name))
    return proto


@pytest.mark.parametrize("asked", ["", "weights int8 per_channel; "])
def test_its_weight_has_one_scale_and_its_bias_none(asked: str, tmp_path: Path) -> None:
    recipe = project(tmp_path, head=HEAD.format(asked), proto=transposed())
    target = qdsl.compile(recipe, out=tmp_path / "build", lock=False, measure=False).targets[0]
    proto = onnx.load(target.emitted.model)
    shapes = {tensor.name: list(tensor.dims) for tensor in proto.graph.initializer}
    assert [shapes[f"{name}_scale"] for name in ("w0", "w1", "w2")] == [[], [], []]
    assert [node.name for node in proto.graph.node if node.op_type == "DequantizeLinear" and node.attribute] == []
    assert next(node for node in proto.graph.node if node.name == "plain").input[2] == "b0"
    assert {n.node: (n.mark, n.prediction.runs) for n in target.plan.nodes} == dict.fromkeys(
        ("plain", "grouped", "dilated"), ("+", "integer")
    )
    assert all("int8 per_tensor for a ConvTranspose" in node.note for node in target.plan.nodes)
    assert target.verification.outputs[0].sqnr_db > 25
