"""float8 (E4M3): its numbers are those of ONNX, the recipe's words for it, and what targets make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import SHAPES, project, residual_net
from onnx import ModelProto, TensorProto, helper, numpy_helper

import qdsl
from qdsl.describe.render import totals
from qdsl.diag import QdslError
from qdsl.lang import loads
from qdsl.quant import QParams, dequantize, quantize, scale_zero_point, weight_parameters
from qdsl.quant.float8 import VALUES, decode, encode
from qdsl.spec import DTYPES, Granularity, Scheme
from qdsl.targets.as_written import AsWritten

FLOAT8 = DTYPES["float8"]
HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static {{ weights float8; activations float8; calibrate minmax on calib }}
{}target {}
"""
LAYERS = ("stem", "inner", "left", "right", "gemm")


# --- numbers --------------------------------------------------------------------------------------------------------


def test_codes_are_those_of_ml_dtypes() -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(VALUES, codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32))
    draw = np.random.default_rng(0)
    middles = (VALUES[:126] + VALUES[1:127]) / 2  # halves go to the even code
    spread = np.exp2(draw.uniform(-14, 8.8, 4000)) * draw.choice([-1, 1], 4000)
    x = np.concatenate([middles, -middles, spread, VALUES[:127], [0.0, -0.0, 2.0**-10, 448.0, -448.0]]).astype(
        np.float32
    )
    x = x[np.abs(x) <= 448]
    np.testing.assert_array_equal(encode(x), x.astype(ml_dtypes.float8_e4m3fn).view(np.uint8))
    np.testing.assert_array_equal(encode(np.float32([449, 1e30, -np.inf])), np.uint8([0x7E, 0x7E, 0xFE]))


def test_onnx_runtime_quantizes_the_same() -> None:
    scale = np.float32(0.0123)
    x = (np.random.default_rng(1).standard_normal(3000) * 3).astype(np.float32)
    params = QParams(np.asarray(scale), np.asarray(0, np.uint8), FLOAT8)
    zero = helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], bytes(1), raw=True)
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3000])],
        [numpy_helper.from_array(scale, "s"), zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    (found,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(found, dequantize(quantize(x, params), params))


def test_the_largest_value_takes_the_largest_code() -> None:
    scale, zero = scale_zero_point(-3.0, 7.0, Scheme(FLOAT8, True))
    assert (scale, zero) == (np.float32(7 / 448), 0)
    weight = np.random.default_rng(2).standard_normal((4, 9)).astype(np.float32)
    params = weight_parameters(weight, Scheme(FLOAT8, True, Granularity.PER_CHANNEL), 0)
    np.testing.assert_allclose(params.scale, np.abs(weight).max(1) / 448, rtol=1e-6)
    back = dequantize(quantize(weight, params), params)
    assert np.all(np.abs(back - weight) <= np.abs(weight) / 16 + params.scale[:, None] * 2.0**-10)


# --- the language ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("quantize static { weights float8 affine }", "contradiction"),
        ("quantize static { activations float8 reduce_range }", "contradiction"),
        ("quantize static { weights float8 }\nkeep op Conv in float8", "keep-integer"),
    ],
)
def test_words_that_do_not_go_with_it_are_told(words: str, code: str) -> None:
    with pytest.raises(QdslError) as caught:
        loads(f'recipe demo\nmodel onnx "demo.onnx"\n{words}\ntarget tensorrt\n')
    assert [each.code for each in caught.value.diagnostics] == [code]


# --- targets --------------------------------------------------------------------------------------------------------


def compiled(folder: Path, rules: str = "", target: str = 'tensorrt { device "l4" }', proto: Any = None) -> Any:
    recipe = project(folder, head=HEAD.format(rules, target), proto=proto)
    return qdsl.compile(recipe, out=folder / "build", lock=False, measure=False)


def emitted(made: Any) -> ModelProto:
    return onnx.load(made.targets[0].emitted.model)


def refused(folder: Path, rules: str = "", target: str = "tensorrt") -> list[tuple[str, int, str]]:
    with pytest.raises(QdslError) as caught:
        compiled(folder, rules, target)
    assert all(each.help for each in caught.value.diagnostics)
    return [(each.code, each.span.line if each.span else 0, each.label) for each in caught.value.diagnostics]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compiled(tmp_path_factory.mktemp("float8"))


def test_layers_compute_in_it(made: Any) -> None:
    plan = made.targets[0].plan
    kernels = {node.node: node.prediction.kernel for node in plan.nodes if node.prediction.runs == "integer"}
    assert kernels == {name: f"{'Gemm' if name == 'gemm' else 'Conv'}(float8)" for name in LAYERS}
    assert not [flag for flag in plan.flags if flag.code == "device-unsaid"]
    held = json.loads((made.targets[0].emitted.directory / "quant_manifest.json").read_text(encoding="utf-8"))
    assert {node["node"]: node["expect"] for node in held["nodes"]} == dict.fromkeys(LAYERS, "fp8")
    assert held["typing"] == "strong", "beside int8 a weak build refuses the flag of fp8"
    assert abs(plan.totals.predicted_bytes - made.targets[0].emitted.size) <= 0.05 * made.targets[0].emitted.size


def test_the_file_holds_codes_and_computes_what_they_stand_for(made: Any) -> None:
    proto = emitted(made)
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    floats = {tensor.name: numpy_helper.to_array(tensor) for tensor in residual_net().graph.initializer}
    assert proto.opset_import[0].version == 19
    for name in (name for name in SHAPES if name.startswith("w")):
        codes, scale = stored[f"{name}_quantized"], numpy_helper.to_array(stored[f"{name}_scale"])
        assert codes.data_type == stored[f"{name}_zero_point"].data_type == TensorProto.FLOAT8E4M3FN
        wide = scale.reshape(-1, *[1] * (len(codes.dims) - 1))
        back = numpy_helper.to_array(codes).astype(np.float32) * wide
        expected = (floats[name] / wide).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * wide
        np.testing.assert_array_equal(back, expected)
    x = np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(np.float32)
    proto.graph.output.append(helper.make_tensor_value_info("x_dequantized", TensorProto.FLOAT, None))
    path = made.targets[0].emitted.directory / "opened.onnx"
    onnx.save(proto, path)
    scale = numpy_helper.to_array(stored["x_scale"])
    found = AsWritten(path).run({"x": x})["x_dequantized"]
    np.testing.assert_array_equal(found, decode(encode(np.clip(x / scale, -448, 448))) * scale)


def test_an_audit_says_what_it_computes_in(made: Any) -> None:
    report = qdsl.audit(made.targets[0].emitted.model, target="tensorrt").report
    assert {each.rule for each in report.findings} == {"newer_gpu_needed", "weakly_typed_flags"}
    assert report.sections[0].multiplied == "float8"
    runs = report.sections[0].runs
    assert {name for name, found in runs.items() if found.multiplies == "float8" and found.runs == "integer"} == {
        *LAYERS
    }


def test_int8_and_float8_stand_beside_each_other_tensor_by_tensor(tmp_path: Path) -> None:
    rules = 'layers "gemm" { weights int8 }\nlayers "flatten" { activations int8 }\n'
    plan = compiled(tmp_path, rules).targets[0].plan
    assert "4 of 4 Conv, 1 of 1 Gemm in integers and float8 (100 % of MACs)" in totals(plan)
    kernels = {node.node: node.prediction.kernel for node in plan.nodes if node.node in LAYERS}
    assert kernels == {**dict.fromkeys(LAYERS[:-1], "Conv(float8)"), "gemm": "Gemm(int8)"}


def test_a_product_of_both_is_refused(tmp_path: Path) -> None:
    rules = 'layers "left" { weights int8 }\n'
    ((code, line, label),) = refused(tmp_path / "left", rules)
    assert (code, line) == ("target-cannot", 5) and "it would multiply float8 by int8" in label
    placed = refused(tmp_path / "placed", rules + 'place { quantize inputs of "left" }\n')
    assert {(code, line) for code, line, _ in placed} == {("target-cannot", 5)}


def convs(*shapes: tuple[int, ...]) -> ModelProto:
    """One Conv per shape of a weight, side by side on 16 channels, called after its kernel and its groups."""
    parts = [
        f"[k{'x'.join(map(str, shape[2:]))}_{16 // shape[1]}] y{at} = Conv <group = {16 // shape[1]}> (x, w{at})"
        for at, shape in enumerate(shapes)
    ]
    ends = ", ".join(f"float[1, {s[0]}, {33 - s[2]}, {33 - s[3]}] y{at}" for at, s in enumerate(shapes))
    text = f'<ir_version: 8, opset_import: ["": 17]> n (float[1, 16, 32, 32] x) => ({ends}) {{ {" ".join(parts)} }}'
    proto = onnx.parser.parse_model(text)
    draw = np.random.default_rng(0)
    for at, shape in enumerate(shapes):
        proto.graph.initializer.append(
            numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), f"w{at}")
        )
    return proto


KERNELS = ((16, 16, 4, 8), (16, 16, 3, 11), (16, 16, 7, 7), (16, 1, 3, 3), (16, 4, 5, 5), (16, 16, 1, 31))


def test_large_kernels_stay_float_and_groups_are_told(tmp_path: Path) -> None:
    plan = compiled(tmp_path, proto=convs(*KERNELS)).targets[0].plan
    assert [node.node for node in plan.nodes if node.prediction.runs == "float"] == ["k3x11_1", "k7x7_1"]
    assert "at most 32 weights per channel: with 33" in next(n.note for n in plan.nodes if n.node == "k3x11_1")
    (told,) = [flag for flag in plan.flags if flag.code == "slow-kernel"]
    assert told.nodes == ("k3x3_16", "k5x5_4") and "advises int8" in told.message


def test_without_a_device_the_plan_says_where_it_does_not_run(tmp_path: Path) -> None:
    plan = compiled(tmp_path, target="tensorrt").targets[0].plan
    (told,) = [flag.message for flag in plan.flags if flag.code == "device-unsaid"]
    assert told == "float8 runs on devices of compute capability 8.9 or more: others refuse to build the engine"


@pytest.mark.parametrize(
    ("target", "because"),
    [
        ("ort", "has no float8"),
        ('tensorrt { version "8.6" }', "TensorRT 8.6 has no float8: 10.0 was the first"),
        ('tensorrt { device "jetson-orin-nano" }', "its compute capability is 8.7, and 8.9 was the first"),
        ('tensorrt { device "a100" }', "its compute capability is 8.0, and 8.9 was the first"),
    ],
)
def test_where_there_is_none_it_is_an_error_at_its_line(target: str, because: str, tmp_path: Path) -> None:
    found = refused(tmp_path, target=target)
    assert [(code, line) for code, line, _ in found] == [("target-cannot", 4)] * 2
    assert all(because in label for _, _, label in found)


def test_a_scale_per_channel_comes_with_10_6(tmp_path: Path) -> None:
    head = HEAD.replace("weights float8;", "weights float8 per_channel;")

    def weights(version: str) -> set[str]:
        recipe = project(tmp_path / version, head=head.format("", f'tensorrt {{ version "{version}"; device "l4" }}'))
        return {str(weight.scheme) for weight in qdsl.plan(recipe).plans[0].weights}

    assert weights("10.6") == {"float8 symmetric per_channel"}
    with pytest.raises(QdslError, match="per_channel"):
        weights("10.5")
