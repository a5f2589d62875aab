"""Few bits: weights packed on disk, read as numpy reads them, mixed in one file; activations emulated in uint8; what is
refused, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_cuts import compiled

import qdsl
from qdsl.diag import QdslError
from qdsl.quant import dequantize, quantize_weight, weight_parameters
from qdsl.spec import DTYPES, Granularity, Scheme

CASES = [
    ("static", "int4", Granularity.PER_CHANNEL, 7),
    ("float", "uint4", Granularity.PER_BLOCK, 8),
    pytest.param("static", "int2", Granularity.PER_BLOCK, 7, marks=pytest.mark.slow),
    pytest.param("static", "uint2", Granularity.PER_TENSOR, 8, marks=pytest.mark.slow),
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
    options.intra_op_num_threads = 1
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


def rounded(x: np.ndarray[Any, Any], scale: Any, zero: Any, bits: int) -> np.ndarray[Any, Any]:
    """What `bits` bits hold of `x`, by the equation of QuantizeLinear."""
    codes = np.clip(np.rint(x / scale) + int(zero), 0, 2**bits - 1)
    return ((codes - int(zero)) * scale).astype(np.float32)


@pytest.mark.parametrize(
    ("bits", "of_one"),
    [(6, False), (4, True), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((6, True), (4, False)))],
)
def test_activations_of_few_bits_are_emulated_in_uint8_and_say_so(bits: int, of_one: bool, tmp_path: Path) -> None:
    asked, label = f"activations {bits} bit", f"uint8 as {bits} bit (emulated)"
    mode = f"static {{ weights int8; {'activations uint8' if of_one else asked}; calibrate minmax on calib }}"
    recipe = project(tmp_path, mode, 8, rules=f'layers "conv1" {{ {asked} }}\n' if of_one else "", layers=3)
    result = compiled(recipe)
    (built,) = result.targets
    narrow = {tensor.tensor for tensor in built.plan.tensors if tensor.scheme.emulated_bits == bits}
    assert narrow == ({"r1"} if of_one else {"x", "r0", "r1", "r2"})
    totals = built.plan.totals
    assert totals.integer_macs == totals.macs and any(label in node.note for node in built.plan.nodes)
    told = json.loads((tmp_path / "build/low/measurements.json").read_text())
    assert told["builds"]["ort"]["widths"] == [label]
    page = (tmp_path / "build/low/report.html").read_text()
    assert f"{label}: time and memory are those of the wider type." in page
    assert f"as {bits} bit (emulated)" in str(qdsl.explain(recipe, "conv1"))

    path = built.emitted.model
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    plain, before, after = answers(path, False, "r1", "r1_dequantized")
    (node,) = [n for n in onnx.load(path).graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "r1"]
    expected = rounded(before, *(stored[name] for name in node.input[1:]), bits)
    np.testing.assert_array_equal(after, expected)
    assert before.max() > after.max() or len(np.unique(after)) > 2 ** (bits - 2)
    ends = [stored[name] for n in onnx.load(path).graph.node if n.op_type == "QuantizeLinear" for name in n.input[1:2]]
    np.testing.assert_allclose(answers(path, True)[0], plain, atol=2.01 * float(ends[-1]))


REFUSED = [
    ("tensorrt", "static", "uint4", "its parser knows no uint4: write int4"),
    ("tensorrt", "float", "int2", "its parser knows no 2 bit integers"),
    ("tensorrt", "float", "int4", "no kernel of Conv takes integer weights beside float activations"),
    ("tensorrt", "float", "int4 storage_only", "blocks run along one of the last two axes alone"),
    ("stm32", "static", "int4", "no kernel unpacks 4 bits: `weights int8` is the narrowest"),
    ("stm32", "static", "uint2", "no kernel unpacks 2 bits: `weights int8` is the narrowest"),
    ("ort", "static", "int4 per_block 4", "4 bit weights are dequantized at every inference"),
]


@pytest.mark.parametrize(("target", "mode", "words", "why"), REFUSED)
@pytest.mark.parametrize("of_one", [False, True], ids=["mode", "layer"])
def test_what_a_target_cannot_is_refused_where_it_was_asked_for(
    target: str, mode: str, words: str, why: str, of_one: bool, tmp_path: Path
) -> None:
    rules = f'layers "conv0" {{ weights {words} }}\n' if of_one else ""
    recipe = project(tmp_path, MODES[mode].format("int8" if of_one else words), 8, rules=rules)
    recipe.write_text(recipe.read_text().replace("target ort", f"target {target}").replace("uint8;", "8 bit;"))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    line = next(at for at, text in enumerate(recipe.read_text().splitlines(), 1) if words in text)
    found = [d for d in caught.value.diagnostics if d.span is not None and d.span.line == line]
    assert any(why in d.label for d in found), [(d.code, d.label) for d in caught.value.diagnostics]
