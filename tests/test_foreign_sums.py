"""Files that are measured as they are: weights whose products some CPUs do not add exactly are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign_files import folded, integer_conv, integer_matmul, of_activations, operator_model
from onnx import TensorProto, helper
from saturation import has_vnni, paired

import qdsl
from qdsl.diag import Diagnostic
from qdsl.targets.ort.run import run

RECIPE = 'recipe asis\nmodel onnx "model.onnx"\nquantize none\ntarget ort {{ {target} }}\n'
FULL = np.full((4, 4, 1, 1), 127, np.int8)


def told(folder: Path, model: onnx.ModelProto, target: str = "threads 1") -> list[Diagnostic]:
    onnx.save(model, folder / "model.onnx")
    (folder / "asis.q").write_text(RECIPE.format(target=target), encoding="utf-8")
    result = qdsl.compile(folder / "asis.q", out=folder / "build", lock=False)
    return [found for found in result.diagnostics if found.code == "sums-inexact"]


def alternating(low: int = 0) -> Any:
    """Weights of which every other one along the channels is 0: no pair adds up."""
    codes = np.array([127, low, 127, low], np.int8).reshape(1, 4, 1, 1)
    return np.repeat(codes, 4, axis=0)


def test_neighbours_that_saturate_are_told_with_the_cures(tmp_path: Path) -> None:
    (found,) = told(tmp_path, integer_conv(FULL))
    assert found.headline == "the products of 1 node can add up wrongly on x86 without VNNI"
    assert found.notes == ("conv: two neighbouring products can pass int16, and saturate",)
    assert any("session.x64quantprecision" in cure for cure in found.help)
    codes = FULL.reshape(4, 4).astype(np.int64).T
    activations = np.full((1, 4), 255)
    assert (paired(activations, codes) != activations @ codes).all(), "as such a CPU would"


def test_neighbours_of_0_are_exact(tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(alternating()))
    codes = alternating().reshape(4, 4).astype(np.int64).T
    activations = np.full((1, 4), 255)
    assert (paired(activations, codes) == activations @ codes).all()


def test_the_lowest_integer_is_told_of_arm(tmp_path: Path) -> None:
    codes = np.where(alternating() > 0, -128, 0).astype(np.int8)
    (found,) = told(tmp_path, integer_conv(codes))
    assert found.headline.endswith("on Arm without dot product")


@pytest.mark.parametrize("target", ["cpu x86_vnni", "cpu arm_dotprod"])
def test_cpus_with_exact_kernels_need_nothing(target: str, tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(FULL), target)


def test_bytes_of_one_sign_are_added_exactly(tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(FULL, operators=True, signed=True))
    assert told(tmp_path, integer_conv(FULL, operators=True))


def test_in_a_qdq_model_int8_activations_become_uint8(tmp_path: Path) -> None:
    assert told(tmp_path, integer_conv(FULL, signed=True))


def test_depthwise_kernels_add_otherwise(tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(np.full((4, 1, 3, 3), 127, np.int8), group=4))


@pytest.mark.parametrize("operators", [False, True], ids=["QDQ", "operators"])
def test_but_not_with_a_zero_point_per_channel(operators: bool, tmp_path: Path) -> None:
    codes = np.full((4, 1, 3, 3), 127, np.int8)
    assert not told(tmp_path, integer_conv(codes, group=4, operators=operators, zeros=[5, 5, 5, 5]))
    assert told(tmp_path, integer_conv(codes, group=4, operators=operators, zeros=[5, 5, 5, -5]))


def test_what_dynamic_quantization_writes_is_looked_at(tmp_path: Path) -> None:
    assert told(tmp_path, integer_matmul(np.full((8, 4), 127, np.int8)))
    assert not told(tmp_path, integer_matmul(np.full((8, 4), 60, np.int8)))


NODE = helper.make_node
W = np.random.default_rng(1).uniform(0.6, 1, (8, 4, 3, 3)).astype(np.float32)
CODES = np.full((8, 4, 3, 3), 120, np.int8)
STEP, ZERO = {"ws": np.float32(1 / 127), "wz": np.int8(0)}, ["ws", "wz"]
EACH = {"ws": np.full(8, 1 / 127, np.float32), "wz": np.zeros(8, np.int8)}
ENDS = {"low": np.int8(-127), "high": np.int8(127)}
QUANTIZE, DEQUANTIZE = NODE("QuantizeLinear", ["w", *ZERO], ["wq"]), NODE("DequantizeLinear", ["wq", *ZERO], ["wd"])
CONV, MATRIX = (1, 4, 8, 8), (4, 32)
LAST = {"perm": [3, 2, 0, 1]}
# How quantizers leave the weight of a node to the runtime, which folds it when it loads the file.
FOLDED = {
    "float, Q, DQ": lambda w: folded([QUANTIZE, DEQUANTIZE], shape=CONV, w=w, **STEP),
    "float, Q, DQ per channel": lambda w: folded(
        [NODE("QuantizeLinear", ["w", *ZERO], ["wq"], axis=0), NODE("DequantizeLinear", ["wq", *ZERO], ["wd"], axis=0)],
        shape=CONV,
        w=w,
        **EACH,
    ),
    "float, Q, Clip, DQ": lambda w: folded(
        [QUANTIZE, NODE("Clip", ["wq", "low", "high"], ["wc"]), NODE("DequantizeLinear", ["wc", *ZERO], ["wd"])],
        shape=CONV,
        w=w,
        **STEP,
        **ENDS,
    ),
    "int8, Transpose, DQ": lambda w: folded(
        [NODE("Transpose", ["v"], ["wq"], **LAST), DEQUANTIZE], shape=CONV, v=coded(w).transpose(2, 3, 1, 0), **STEP
    ),
    "int8, DQ, Transpose": lambda w: folded(
        [NODE("DequantizeLinear", ["v", *ZERO], ["vd"]), NODE("Transpose", ["vd"], ["wd"], **LAST)],
        shape=CONV,
        v=coded(w).transpose(2, 3, 1, 0),
        **STEP,
    ),
    "float, Q, DQ, Transpose": lambda w: folded(
        [QUANTIZE, NODE("DequantizeLinear", ["wq", *ZERO], ["v"]), NODE("Transpose", ["v"], ["wd"])],
        "MatMul",
        shape=MATRIX,
        w=w.transpose(0, 2, 3, 1).reshape(9, 32),
        **STEP,
    ),
    "float alone": lambda w: folded([NODE("Identity", ["w"], ["wd"])], shape=CONV, w=w),
}


def coded(w: Any) -> Any:
    return np.rint(w * 127).astype(np.int8)


def parts(folder: Path) -> bool:
    """Whether this CPU computes something else than the file says, for inputs near their largest."""
    session = run(folder / "model.onnx"), run(folder / "model.onnx", as_written=True)
    shape = [dim.dim_value for dim in onnx.load(folder / "model.onnx").graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(2).uniform(0.9, 1, shape).astype(np.float32)
    ran, written = (each.run({"x": x})["y"] for each in session)
    return not np.allclose(ran, written, rtol=0.02)


@pytest.mark.parametrize("kind", FOLDED)
def test_whatever_stands_between_a_weight_and_its_node(kind: str, tmp_path: Path) -> None:
    (found,) = told(tmp_path, FOLDED[kind](W))
    assert found.notes[0].startswith("node: ") and "x86 without VNNI" in found.headline
    assert parts(tmp_path) is not has_vnni()


@pytest.mark.parametrize("kind", FOLDED)
def test_folded_weights_that_are_exact_are_not_told(kind: str, tmp_path: Path) -> None:
    """Of two neighbours in the order in which the kernel adds them, channels last, one is 0."""
    w = W.copy()
    w[:, 1::2] = 0
    assert not told(tmp_path, FOLDED[kind](w), "cpu x86")
    assert not parts(tmp_path)


def test_a_float_weight_that_stays_float_is_not_told(tmp_path: Path) -> None:
    """The runtime makes int8 of that of a Conv, not of that of a MatMul."""
    model = folded([NODE("Identity", ["w"], ["wd"])], "MatMul", shape=MATRIX, w=W.reshape(32, 9))
    assert not told(tmp_path, model) and not parts(tmp_path)


def test_activations_on_both_sides(tmp_path: Path) -> None:
    (found,) = told(tmp_path, of_activations((np.uint8, np.int8), shared=True))
    assert found.headline.startswith("the products of 1 node can add up wrongly on x86 without VNNI")
    assert "uint8 on both sides" in found.help[0] and not any("least wider scale" in cure for cure in found.help)
    assert parts(tmp_path) is not has_vnni()


def test_activations_of_one_type_are_added_exactly_on_x86(tmp_path: Path) -> None:
    assert not told(tmp_path, of_activations((np.uint8, np.uint8)))
    assert not told(tmp_path, of_activations((np.int8, np.int8)), "cpu x86")
    assert not parts(tmp_path)


def test_int8_activations_meet_on_arm(tmp_path: Path) -> None:
    """There they stay int8, and both may be -128."""
    (found,) = told(tmp_path, of_activations((np.int8, np.int8)))
    assert found.headline.endswith("on Arm without dot product")
    assert not told(tmp_path, of_activations((np.int8, np.int8)), "cpu arm_dotprod")


MATRICES = {
    "MatMulIntegerToFloat": ("x w s s", np.zeros((4, 32), np.uint8), {"w": (32, 8)}),
    "DynamicQuantizeMatMul": ("x w s", np.zeros((4, 32), np.float32), {"w": (32, 8)}),
    "QAttention": ("x w b s s", np.zeros((1, 4, 32), np.uint8), {"w": (32, 24)}),
    "DynamicQuantizeLSTM": ("x w r - - - - - l z l z", np.zeros((2, 1, 32), np.float32), {"w": (1, 32, 16)}),
}


@pytest.mark.parametrize("operator", MATRICES)
def test_operators_of_the_runtime(operator: str, tmp_path: Path) -> None:
    ports, x, weights = MATRICES[operator]
    others = {"s": np.float32(0.1), "b": np.zeros(24, np.float32), "r": np.zeros((1, 4, 16), np.int8)}
    others |= {"l": np.full(1, 0.1, np.float32), "z": np.zeros(1, np.int8)}
    sizes = {"num_heads": 1} if operator == "QAttention" else {"hidden_size": 4} if "LSTM" in operator else {}
    for code, wanted in ((127, True), (60, False)):
        codes = {name: np.full(shape, code, np.int8) for name, shape in weights.items()}
        assert bool(told(tmp_path, operator_model(operator, ports, x, **codes, **others, **sizes))) is wanted


def test_the_constant_may_be_the_first(tmp_path: Path) -> None:
    """Unsigned constants before signed activations: two neighbours of a row may add up to 256."""
    for code, wanted in ((129, True), (128, False)):
        model = operator_model("MatMulInteger", "w x", np.zeros((32, 4), np.int8), w=np.full((8, 32), code, np.uint8))
        assert bool(told(tmp_path, model, "cpu x86")) is wanted
    signed = operator_model("MatMulInteger", "w x", np.zeros((32, 4), np.uint8), w=np.full((8, 32), 127, np.int8))
    assert not told(tmp_path, signed, "cpu x86"), "an exact kernel"


def test_bodies_and_weights_beside_the_file(tmp_path: Path) -> None:
    then = folded([QUANTIZE, DEQUANTIZE], shape=CONV, w=W, **STEP).graph
    given = onnx.ValueInfoProto.FromString(then.input[0].SerializeToString())
    del then.input[:]
    other = helper.make_graph([NODE("Relu", ["x"], ["e"])], "else", [], [helper.make_empty_tensor_value_info("e")])
    choice = NODE("If", ["take"], ["z"], then_branch=then, else_branch=other, name="choice")
    taken = helper.make_tensor_value_info("take", TensorProto.BOOL, [])
    written = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph([choice], "outer", [given, taken], [written])
    assert told(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(FOLDED["float, Q, DQ"](W), tmp_path / "beside.onnx", **beside)
    (tmp_path / "asis.q").write_text(RECIPE.format(target="").replace("model.onnx", "beside.onnx"), encoding="utf-8")
    result = qdsl.compile(tmp_path / "asis.q", out=tmp_path / "build", lock=False)
    assert "sums-inexact" in {found.code for found in result.diagnostics}
