"""Weights of 4 and 2 bits on disk: packed, read as numpy reads them, mixed in one file, small as foreseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_cuts import compiled

from qdsl.quant import dequantize, quantize_weight, weight_parameters
from qdsl.spec import DTYPES, Granularity, Scheme

CASES = [
    ("static", "int4", Granularity.PER_CHANNEL, 7),
    ("float", "uint4", Granularity.PER_BLOCK, 8),
    ("static", "int2", Granularity.PER_BLOCK, 7),
    ("static", "uint2", Granularity.PER_TENSOR, 8),
]
MODES = {
    "static": "static {{ weights {}; activations uint8; calibrate minmax on calib }}",
    "float": "float {{ weights {} }}",
}
BITS = {TensorProto.INT8: 8, TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.INT2: 2, TensorProto.UINT2: 2}


def project(folder: Path, mode: str, wide: int, *, rules: str = "", layers: int = 1, channels: int = 9) -> Path:
    """A chain of Conv and Relu, as many as `layers`, that ends in `wide` channels."""
    draw = np.random.default_rng(0)
    nodes, constants, read = [], {}, "x"
    for at in range(layers):
        out = wide if at == layers - 1 else channels
        constants[f"w{at}"] = draw.standard_normal((out, channels, 3, 3)).astype(np.float32) / channels
        constants[f"b{at}"] = draw.standard_normal(out).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [read, f"w{at}", f"b{at}"], [f"c{at}"], f"conv{at}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{at}"], [f"r{at}"], f"relu{at}"),
        ]
        read = f"r{at}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 6, 6])],
        [helper.make_tensor_value_info(read, TensorProto.FLOAT, [1, wide, 6, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")
    np.savez(folder / "calib.npz", x=draw.uniform(-1, 1, (4, 1, channels, 6, 6)).astype(np.float32))
    recipe = folder / "low.q"
    data = 'data calib from npz "calib.npz"\n' if "calib" in mode else ""
    recipe.write_text(f'recipe low\nmodel onnx "model.onnx"\n{data}quantize {mode}\n{rules}target ort\n')
    return recipe


def answers(path: Path, optimized: bool, *more: str) -> list[np.ndarray[Any, Any]]:
    """What the file answers, and the values of `more` tensors."""
    model = onnx.load(path)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in more)
    options = ort.SessionOptions()
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shape = run.get_inputs()[0].shape
    found: list[np.ndarray[Any, Any]] = run.run(None, {"x": np.random.default_rng(5).random(shape, np.float32)})
    return found


@pytest.mark.parametrize(("mode", "name", "where", "wide"), CASES)
def test_they_are_packed_and_read_as_numpy_reads_them(
    mode: str, name: str, where: Granularity, wide: int, tmp_path: Path
) -> None:
    words = f"{name} {where.value}{' 4' if where is Granularity.PER_BLOCK else ''} storage_only"
    recipe = project(tmp_path, MODES[mode].format(words), wide)
    (built,) = compiled(recipe).targets
    path = built.emitted.model
    stored = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    weight = next(numpy_helper.to_array(t) for t in onnx.load(tmp_path / "model.onnx").graph.initializer)
    axis, block = {Granularity.PER_TENSOR: (None, None), Granularity.PER_CHANNEL: (0, None)}.get(where, (1, 4))
    of = Scheme(DTYPES[name], name.startswith("int"), where, block, storage_only=True)
    expected = quantize_weight(weight, of, weight_parameters(weight, of, axis))
    packed = stored["w0_quantized"]
    assert len(packed.raw_data) == -(-weight.size * BITS[packed.data_type] // 8)
    np.testing.assert_array_equal(numpy_helper.to_array(packed).astype(np.int8), expected.values.astype(np.int8))
    (first, *_), (plain, read) = answers(path, True), answers(path, False, "w0_dequantized")
    np.testing.assert_array_equal(read, dequantize(expected.values, expected.params))
    np.testing.assert_allclose(first, plain, rtol=1e-5, atol=1e-6)


def test_a_recipe_mixes_eight_four_and_two_bits(tmp_path: Path) -> None:
    rules = (
        "layers first 1 of op Conv { weights int8 }\n"
        'layers "conv2" { weights int2 storage_only }\nlayers last 1 of op Conv { weights uint2 storage_only }\n'
    )
    mode = MODES["static"].format("int4 storage_only")
    recipe = project(tmp_path, mode, 32, rules=rules, layers=4, channels=32)
    (built,) = compiled(recipe).targets
    path = built.emitted.model
    model = onnx.load(path)
    (first, *_), (plain, *_) = answers(path, True), answers(path, False)
    np.testing.assert_allclose(first, plain, atol=2e-2)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert [BITS[kinds[f"w{at}_quantized"]] for at in range(4)] == [8, 4, 2, 2]
    assert [node.op_type for node in model.graph.node].count("Max") == 2
    totals = built.plan.totals
    assert totals.integer_macs * 4 == totals.macs  # the first alone
    size = path.stat().st_size
    assert abs(totals.predicted_bytes - size) <= 0.01 * size
