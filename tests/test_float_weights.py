"""`quantize float` with integer weights: where they execute, what is refused, and that the answers are float's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import project, session
from onnx import TensorProto, helper, numpy_helper

import qdsl
from qdsl.diag import QdslError
from qdsl.graph import from_proto, to_bytes
from qdsl.graph.sessions import DEPLOYED, Session
from qdsl.passes.weights_only import WeightsOnly

HEAD = """recipe demo
model onnx "demo.onnx"
quantize float {mode}
target ort

"""
CASES = [
    (op, bits, block, depth, wide, relu, seed)
    for seed, (op, depth, wide, relu) in enumerate(
        [
            ("MatMul", 1, 1, False),
            ("MatMul", 5, 4, True),
            ("MatMul", 7, 5, True),
            ("MatMul", 33, 20, False),
            ("MatMul", 100, 3, True),
            ("Gemm", 64, 48, True),
            ("Gemm", 45, 17, False),
            ("transposed Gemm", 40, 24, True),
            ("transposed Gemm", 19, 9, False),
        ]
    )
    for at, bits in enumerate((8, 4, 2))
    for way, block in enumerate((None, 16, 32))
    # each width of bits meets each block on every third product
    if (at + way + seed) % 3 == 0 and (bits > 2 or wide % 4 == 0)
]


def product(op: str, depth: int, wide: int, relu: bool, seed: int) -> onnx.ModelProto:
    """x [3, depth] times a constant, a bias where the operator has one, a Relu, and a Tanh that keeps it inside."""
    draw = np.random.default_rng(seed)
    body = {
        "MatMul": "[product] p = MatMul (x, w)",
        "Gemm": "[product] p = Gemm (x, w, b)",
        "transposed Gemm": "[product] p = Gemm <transB = 1> (x, w, b)",
    }[op]
    body += " [relu] r = Relu (p) [tail] y = Tanh (r)" if relu else " [tail] y = Tanh (p)"
    text = f"net (float[3, {depth}] x) => (float[3, {wide}] y) {{ {body} }}"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    shape = (wide, depth) if op == "transposed Gemm" else (depth, wide)
    arrays = {"w": draw.standard_normal(shape) / math.sqrt(depth)}
    if op != "MatMul":
        arrays["b"] = draw.standard_normal(wide)
    for name, values in arrays.items():
        proto.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return proto


def compiled(folder: Path, proto: onnx.ModelProto, mode: str, rules: str = "") -> Any:
    recipe = project(folder, rules, head=HEAD.format(mode=mode), proto=proto)
    (target,) = qdsl.compile(recipe, out=folder / "build").targets
    return target


def dequantized(artifact: Path) -> np.ndarray[Any, Any]:
    """The weight that the artifact stands for, as the reference implementation of DequantizeLinear gives it."""
    proto = onnx.load(artifact)
    node = next(n for n in proto.graph.node if n.op_type == "DequantizeLinear")
    stored = {t.name: t for t in proto.graph.initializer}
    q, scale, zero = (numpy_helper.to_array(stored[name]).astype(np.float32) for name in node.input)
    attrs = {a.name: a.i for a in node.attribute}
    if "block_size" in attrs:
        axis = attrs["axis"]
        scale, zero = (np.repeat(v, attrs["block_size"], axis).take(range(q.shape[axis]), axis) for v in (scale, zero))
    elif scale.ndim:
        shape = [-1 if i == attrs["axis"] else 1 for i in range(q.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (q - zero) * scale


@pytest.mark.parametrize(("op", "bits", "block", "depth", "wide", "relu", "seed"), CASES)
def test_weights_alone_execute_at_float_precision(
    op: str, bits: int, block: int | None, depth: int, wide: int, relu: bool, seed: int, tmp_path: Path
) -> None:
    """Whatever the shape, the block and the bits: the kernel's answer is that of float arithmetic on the same weights,
    under the session options that the manifest names."""
    proto = product(op, depth, wide, relu, seed)
    grain = f"per_block {block}" if block else "per_channel"
    target = compiled(tmp_path, proto, f"{{ weights int{bits} {grain} }}")
    assert target.verification.as_predicted, target.verification.mismatches
    assert dict(target.verification.op_counts)["MatMulNBits"] == 1
    assert abs(target.emitted.size - target.plan.totals.predicted_bytes) <= 256 + 0.05 * target.emitted.size
    manifest = json.loads(target.emitted.manifest.read_text())
    assert manifest["session_options"] == {"session.qdq_matmulnbits_accuracy_level": "1"}

    x = np.random.default_rng(seed + 1).standard_normal((3, depth)).astype(np.float32)
    w = dequantized(target.emitted.model).astype(np.float64)
    bias = next((numpy_helper.to_array(t) for t in proto.graph.initializer if t.name == "b"), 0.0)
    expected = x.astype(np.float64) @ w + bias
    expected = np.tanh(np.maximum(expected, 0.0) if relu else expected)
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    for name, value in manifest["session_options"].items():
        options.add_session_config_entry(name, value)
    run = ort.InferenceSession(str(target.emitted.model), options, providers=["CPUExecutionProvider"])
    got = run.run(None, {"x": x})[0].astype(np.float64)
    noise = float(((expected - got) ** 2).sum())
    assert noise == 0.0 or 10 * math.log10(float((expected**2).sum()) / noise) > 100.0


@pytest.mark.parametrize(("bits", "stored"), [(8, TensorProto.INT8), (4, TensorProto.INT4), (2, TensorProto.INT2)])
def test_low_bits_are_packed_in_the_file(bits: int, stored: int, tmp_path: Path) -> None:
    target = compiled(tmp_path, product("MatMul", 256, 256, False, 0), f"{{ weights int{bits} }}")
    proto = onnx.load(target.emitted.model)
    (weight,) = (t for t in proto.graph.initializer if t.data_type == stored and tuple(t.dims) == (256, 256))
    assert len(weight.raw_data) == 256 * 256 * bits // 8
    assert proto.ir_version <= 13
    assert abs(target.emitted.size - target.plan.totals.predicted_bytes) <= 0.02 * target.emitted.size


def test_a_convolution_needs_storage_only_and_the_error_lists_it(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=HEAD.format(mode="{ weights int8 }"))
    with pytest.raises(QdslError) as caught:
        qdsl.compile(recipe, out=tmp_path / "build")
    (found,) = caught.value.diagnostics
    assert found.code == "target-cannot"
    assert "4 Conv" in found.headline and "`stem`" in found.headline and "1 more" in found.headline
    assert found.span is not None and found.span.line == 3
    assert any("storage_only" in cure for cure in found.help)
    assert not (tmp_path / "build").exists()


def test_storage_only_makes_the_file_small_and_computes_in_float(tmp_path: Path) -> None:
    rules = "layers op Conv { weights int8 storage_only }\nlayers op Gemm { weights int4 per_block 16 }\n"
    recipe = project(tmp_path, rules, head=HEAD.format(mode="{ }"))
    (target,) = qdsl.compile(recipe, out=tmp_path / "build").targets
    marks = {node.node: (node.mark, node.note, node.prediction.runs) for node in target.plan.nodes}
    assert marks["stem"] == ("+", "int8 per_channel   stored only, computes in float", "float")
    assert marks["gemm"] == ("+", "int4 per_block   float activations", "integer")
    assert marks["relu1"][0] == "="
    assert target.verification.as_predicted
    assert all(f.sqnr_db is not None and f.sqnr_db > 15 for f in target.verification.outputs)
    assert target.verification.source == "drawn inputs"
    session(target.emitted.model)


def test_a_lock_without_ranges_holds(tmp_path: Path) -> None:
    proto = product("Gemm", 32, 16, True, 0)
    recipe = project(tmp_path, head=HEAD.format(mode="{ weights int4 per_block 32 }"), proto=proto)
    first = qdsl.compile(recipe, out=tmp_path / "one")
    again = qdsl.compile(recipe, out=tmp_path / "two", locked=True)
    assert not first.from_lock and again.from_lock and first.lock is not None and not first.ranges.low
    one, two = ((tmp_path / name / "demo" / "ort" / "model.onnx").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("mode", "rules", "word"),
    [
        ("{ }", "layers op Gemm { weights int4 per_block 24 }\n", "blocks of"),
        ("{ weights int16 }", "", "MatMulNBits takes"),
        ("{ weights int2 }", "", "answers wrongly"),
        ("{ weights int2 storage_only }", "", "answers wrongly"),
        ("{ }", "layers op Relu { weights int8 }\n", "constant weights"),
    ],
)
def test_what_neither_executes_nor_is_stored_is_refused(mode: str, rules: str, word: str, tmp_path: Path) -> None:
    recipe = project(tmp_path, rules, head=HEAD.format(mode=mode), proto=product("Gemm", 48, 18, True, 0))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    assert any(word in f"{d.label} {' '.join(d.help)}" for d in caught.value.diagnostics), caught.value.diagnostics


def test_two_bits_of_a_matrix_beside_quantized_activations_are_refused(tmp_path: Path) -> None:
    """ONNX Runtime refuses such a file as a whole. A Conv reads a copy (`test_low_bits`)."""
    recipe = project(tmp_path, "layers op Gemm { weights int2 storage_only }\n")
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (found,) = caught.value.diagnostics
    assert found.code == "target-cannot" and "load only beside float activations" in found.label


@pytest.mark.parametrize("said", ["activations uint8", "calibrate minmax on calib", "range [0, 1]"])
def test_what_float_builds_say_of_integer_activations_needs_some(said: str, tmp_path: Path) -> None:
    data = 'data calib from npz "calib.npz"\n'
    plain = project(tmp_path / "plain", data, head=HEAD.format(mode=f"{{ weights float16; {said} }}"))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(plain)
    (told,) = caught.value.diagnostics
    word = said.split()[0]
    assert (told.code, told.headline) == ("setting-unused", f"`{word}` has nothing to decide in this float build")
    if word != "activations":
        rule = data + 'layers all { weights int8; activations uint8 }\nlayers tensor "x" { activations uint8 }\n'
        used = project(tmp_path / "used", rule, head=HEAD.format(mode=f"{{ {said} }}"))
        assert qdsl.plan(used).plans[0].tensors


def test_a_pair_in_a_float_build_needs_a_type(tmp_path: Path) -> None:
    rule = "layers all { weights int8; activations uint8; calibrate minmax on calib }\n"
    rule = 'data calib from npz "calib.npz"\n' + rule + "place { quantize inputs of op Conv }\n"
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, rule, head=HEAD.format(mode="{ }")))
    (told,) = (d for d in caught.value.diagnostics if d.code == "rule-conflict")
    assert "`quantize float` leaves in float32" in told.headline and told.span is not None and told.span.line == 3
    (cure,) = told.help
    helped = rule + cure.split("`")[1].replace(" }", "; calibrate minmax on calib }\n")
    assert qdsl.plan(project(tmp_path, helped, head=HEAD.format(mode="{ }"))).plans[0].tensors


def test_a_stored_weight_that_a_body_reads_stays() -> None:
    draw = np.random.default_rng(3)
    stored = [
        numpy_helper.from_array(draw.integers(-127, 128, (3, 4)).astype(np.int8), "stored"),
        numpy_helper.from_array(np.float32(0.01), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    whole = helper.make_tensor_type_proto(TensorProto.FLOAT, [3, 4])
    bodies = {
        branch: helper.make_graph([helper.make_node(op, ["weight"], [op])], op, [], [helper.make_value_info(op, whole)])
        for branch, op in (("then_branch", "Abs"), ("else_branch", "Neg"))
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["stored", "scale", "zero"], ["weight"], name="weight"),
        helper.make_node("Gemm", ["x", "weight"], ["y"], name="product", transB=1),
        helper.make_node("If", ["cond"], ["z"], name="if", **bodies),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4]),
        helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]),
        helper.make_value_info("z", whole),
    ]
    graph = helper.make_graph(nodes, "read by name", inputs, outputs, stored)
    model = from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    feeds = {"x": draw.standard_normal((1, 4)).astype(np.float32), "cond": np.asarray(True)}
    before = Session(to_bytes(model), DEPLOYED).run(["y", "z"], feeds)
    assert [fired.rule for fired in WeightsOnly().apply(model).fired] == ["transposed_weight"]
    after = Session(to_bytes(model), DEPLOYED).run(["y", "z"], feeds)
    np.testing.assert_allclose(after[0], before[0], rtol=1e-6)
    np.testing.assert_array_equal(after[1], before[1])
