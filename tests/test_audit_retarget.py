"""`qdsl audit --target tensorrt --fix`: the same integers in the form that TensorRT takes, or why that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from audit_layers import normal, stored
from audit_tools import File, found
from compile_tools import residual_net
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper
from retargeting import VARIANTS, by_onnxruntime, errors, mended_file
from tensorrt_types import multiplied, read_by, vector_of_one
from test_audit_fix import as_written

import qdsl
from qdsl.auditing.fixing import Mended, mend
from qdsl.finished.reading import read
from qdsl.graph import Model, from_proto, to_proto

_PER_CHANNEL = np.linspace(0.005, 0.02, 8)


def retargeted(proto: ModelProto) -> tuple[Model, Mended]:
    model = from_proto(proto)
    return model, mend(model, found(proto, "tensorrt"))


def require_same(before: ModelProto, after: Model) -> None:
    draw = np.random.default_rng(3).normal(0, 3, (1, 4, 8, 8)).astype(np.float32)
    for one, other in zip(as_written(before, {"x": draw}), as_written(to_proto(after), {"x": draw}), strict=True):
        np.testing.assert_array_equal(one, other)


def around(element: Any, zero: int, *, move: str = "") -> ModelProto:
    """x -> Q -> [`move`] -> DQ -> Conv -> pair, all around that zero point."""
    file = File(kind=element, zero=zero, opset=21)
    held = file.quantize("x")
    if move == "Transpose":
        turned = file.node("Transpose", held, name="turned", perm=[0, 1, 3, 2])
        read_ = file.node("DequantizeLinear", turned, "x_q_s", "x_q_z", name="read")
    elif move == "Clip":
        bounds = [file.constant("low", element(zero - 100)), file.constant("high", element(zero + 100))]
        cut = file.node("Clip", held, *bounds, name="cut")
        read_ = file.node("DequantizeLinear", cut, "x_q_s", "x_q_z", name="read")
    else:
        read_ = file.dequantize(held)
    weight = stored(file, "w", normal(8, 4, 1, 1), 0.01)
    return file.give(file.pair(file.node("Conv", read_, weight, name="conv"), scale=0.2))


def weighing(codes: NDArray[Any], zero: Any, *, scale: Any = 0.01, between: str = "") -> ModelProto:
    """A Conv with stored integers around that zero point, `between` them and their DequantizeLinear."""
    file = File(kind=np.int8, opset=21)
    data = file.pair("x")
    if not between:
        weight = stored(file, "w", codes, scale, zero=zero)
    else:
        names = [file.constant("w_s", np.float32(scale)), file.constant("w_z", codes.dtype.type(zero))]
        held = file.constant("w", codes)
        if between == "Clip":
            bounds = [file.constant(name, codes.dtype.type(at)) for name, at in (("low", -100), ("high", 100))]
            held = file.node("Clip", held, *bounds, name="cut")
        else:
            held = file.node("Transpose", held, name="cut", perm=[1, 0, 2, 3])
        weight = file.node("DequantizeLinear", held, *names, name="w_dq")
    return file.give(file.pair(file.node("Conv", data, weight, name="conv"), scale=0.2))


def simulated(zero: int) -> ModelProto:
    """A float weight in a pair of uint8."""
    file = File(kind=np.int8)
    names = [file.constant("w_s", np.float32(0.02)), file.constant("w_z", np.uint8(zero))]
    held = file.node("QuantizeLinear", file.floats("w", 8, 4, 1, 1), *names, name="w_q")
    weight = file.node("DequantizeLinear", held, *names, name="w_dq")
    return file.give(file.pair(file.node("Conv", file.pair("x"), weight, name="conv"), scale=0.2))


def microsoft(element: Any = np.int8) -> ModelProto:
    file = File(kind=element)
    names = [file.constant("s", np.float32(0.05)), file.constant("z", element(0))]
    held = file.node("QuantizeLinear", "x", *names, name="q", domain="com.microsoft")
    data = file.node("DequantizeLinear", held, *names, name="dq", domain="com.microsoft")
    return file.give(file.node("Relu", data, name="y"))


_SHIFTED = np.asarray(normal(8, 4, 1, 1).astype(np.int16) + 128, np.uint8)
# What is mended of each, and how often.
MENDED: dict[str, tuple[Callable[[], ModelProto], dict[str, int]]] = {
    "uint8 around 128": (lambda: around(np.uint8, 128), {"signed_integers": 2}),
    "uint8 around 128, moved": (lambda: around(np.uint8, 128, move="Transpose"), {"signed_integers": 2}),
    "stored uint8 around 128": (lambda: weighing(_SHIFTED, 128), {"signed_integers": 1}),
    "stored uint8 around 128, per channel": (
        lambda: weighing(_SHIFTED, np.full(8, 128), scale=_PER_CHANNEL),
        {"signed_integers": 1},
    ),
    "stored uint8 from 0": (
        lambda: weighing(np.asarray(np.abs(normal(8, 4, 1, 1)), np.uint8), 0),
        {"signed_integers": 1},
    ),
    "stored int8 around 3": (
        lambda: weighing(np.asarray(normal(8, 4, 1, 1) // 2, np.int8), 3),
        {"signed_integers": 1},
    ),
    "stored int8 around several": (
        lambda: weighing(np.asarray(normal(8, 4, 1, 1) // 2, np.int8), np.arange(8), scale=_PER_CHANNEL),
        {"signed_integers": 1},
    ),
    "float weight in a pair around 128": (lambda: simulated(128), {"signed_integers": 1, "dangling_nodes": 1}),
    "Clip of stored integers": (lambda: weighing(normal(8, 4, 1, 1), 0, between="Clip"), {"stored_integers": 1}),
    "Transpose of stored integers": (
        lambda: weighing(normal(4, 8, 1, 1), 0, between="Transpose"),
        {"stored_integers": 1},
    ),
    "Transpose of stored uint8": (
        lambda: weighing(_SHIFTED.reshape(4, 8, 1, 1), 128, between="Transpose"),
        {"stored_integers": 1, "signed_integers": 1},
    ),
    "fill of a Pad of integers": (lambda: read_by("Pad"), {"stored_integers": 1}),
    "stored number": (lambda: multiplied(()), {"float_scalars": 1}),
    "scale as a vector": (lambda: vector_of_one("q", "dq"), {"scalar_scales": 2}),
    "Q and DQ of com.microsoft": (microsoft, {"onnx_quantizers": 2}),
}
# What stays as it is, and why.
STAYS: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "uint8 around 100": (lambda: around(np.uint8, 100), "does not hold all its steps"),
    "uint8 from 0": (lambda: around(np.uint8, 0), "does not hold all its steps"),
    "int8 around -128": (lambda: around(np.int8, -128), "does not hold all its steps"),
    "stored uint8 around 100": (lambda: weighing(_SHIFTED, 100), "its integers lie -99 to 155 from their zero point"),
    "stored int8 far from its zero point": (lambda: weighing(normal(8, 4, 1, 1), 5), "its integers lie -132 to 122"),
    "uint8 that a Clip cuts off": (lambda: around(np.uint8, 128, move="Clip"), "something else reads its integers"),
    "int16 of com.microsoft": (lambda: microsoft(np.int16), "opset 17 of ONNX has no such type"),
}


@pytest.mark.parametrize("name", MENDED)
def test_the_same_integers_in_the_form_that_tensorrt_takes(name: str) -> None:
    make, done = MENDED[name]
    model, result = retargeted(make())
    assert dict(result.done) == done and result.refused == ()
    require_same(make(), model)
    assert errors(to_proto(model)) == {}
    for record in read(model).tensors:
        assert record.parameters.element == "int8" and not np.any(record.parameters.zero_point)


@pytest.mark.parametrize("name", STAYS)
def test_what_cannot_be_is_told_and_stays(name: str) -> None:
    make, reason = STAYS[name]
    model, result = retargeted(make())
    assert any(reason in each.reason for each in result.refused)
    require_same(make(), model)
    left = [each for each in found(to_proto(model), "tensorrt") if each.rule in errors(make())]
    assert {each.rule for each in left} == errors(make()).keys()
    assert all(each.fix is not None and each.fix.lines for each in left), "quantized anew, by a recipe"


@pytest.mark.parametrize("name", [name for name in STAYS if name.startswith("stored")])
def test_fix_is_not_offered_where_it_would_refuse(name: str) -> None:
    moved = {"zero_point_not_zero", "unsigned_integers"}
    told = [each for each in found(STAYS[name][0](), "tensorrt") if each.rule in moved]
    assert told and {each.fix.rewrite for each in told if each.fix is not None} == {""}


@pytest.mark.parametrize(
    "make",
    [
        lambda: around(np.int8, 3),
        lambda: weighing(np.asarray(normal(8, 4, 1, 1) // 2, np.int8), 3),
        lambda: weighing(np.asarray(normal(8, 4, 1, 1) // 2, np.int8), np.arange(8), scale=_PER_CHANNEL),
    ],
    ids=["activation", "weight", "channels"],
)
def test_what_the_parser_refuses_for_its_zero_point_is_not_foretold_in_integers(
    make: Callable[[], ModelProto], tmp_path: Path
) -> None:
    onnx.save(make(), tmp_path / "model.onnx")
    (section,) = qdsl.audit(tmp_path / "model.onnx", target="tensorrt").report.sections
    (conv,) = section.floats
    assert (section.runs[conv].runs, section.runs[conv].because) == (
        "float",
        "a zero point is not 0: the parser refuses it",
    )


def test_a_pad_of_integers_that_fills_with_others_than_0_stays() -> None:
    proto = read_by("Pad")
    fill = next(each for each in proto.graph.initializer if each.name == "fill")
    fill.CopyFrom(numpy_helper.from_array(np.array(5, np.int8), "fill"))
    model, result = retargeted(proto)
    assert [each.reason for each in result.refused] == ["it fills with another integer than 0"]
    require_same(proto, model)


def test_integers_that_leave_the_graph_stay() -> None:
    file = File(kind=np.uint8, zero=128)
    model = file.give(file.quantize("x"))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    _, result = retargeted(model)
    assert "signed_integers" not in dict(result.done)


@pytest.mark.parametrize("name", [name for name, each in VARIANTS.items() if not each.slow])
def test_files_of_onnxruntimes_quantizer(name: str, tmp_path: Path) -> None:
    variant = VARIANTS[name]
    made, out = by_onnxruntime(tmp_path, variant.options), tmp_path / "out.onnx"
    left = mended_file(made, out)
    assert left == variant.left
    feeds = {"x": np.random.default_rng(5).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    for one, other in zip(as_written(str(made), feeds), as_written(str(out), feeds), strict=True):
        np.testing.assert_array_equal(one, other)


# An operator on integers for each that is written out; scale and zero point of what it reads and writes are by `_Q`.
_Q = {"x": 0.05, "w": 0.0213, "y": 0.0973}
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "QLinearLeakyRelu": {"alpha": 0.1},
    "QLinearAveragePool": {"kernel_shape": [2, 2]},
    "QLinearConcat": {"axis": 1},
}
_OPERATORS = (
    *("QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu"),
    *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearConcat"),
)


def on_integers(op: str) -> ModelProto:
    """x -> Q -> `op` -> DQ, all int8 around 0."""
    file = File(kind=np.int8, opset=17)
    for name, scale in _Q.items():
        file.constant(f"{name}_s", np.float32(scale))
    zero = file.constant("zero", np.int8(0))
    reads = [file.node("QuantizeLinear", "x", "x_s", zero, name="x_q"), "x_s", zero]
    if op == "QGemm":
        reads[0] = file.node("Flatten", reads[0], name="flat", axis=3)
    codes = {"QLinearConv": normal(8, 4, 1, 1), "QLinearMatMul": normal(8, 8), "QGemm": normal(8, 8)}.get(op)
    other = [file.constant("w", normal(1, 4, 8, 8) if codes is None else codes), "w_s", zero]
    writes = ["y_s", zero]
    two = [*reads, *other, *writes]
    ports = {
        "QLinearConv": [*reads, *other, *writes, file.constant("b", np.arange(8, dtype=np.int32) * 100)],
        "QGemm": [*reads, *other, file.constant("b", np.arange(8, dtype=np.int32) * 100), *writes],
        "QLinearConcat": [*writes, *reads, *other],
        "QLinearMatMul": two,
        "QLinearAdd": two,
        "QLinearMul": two,
    }.get(op, [*reads, *writes])
    domain = "" if op in ("QLinearConv", "QLinearMatMul") else "com.microsoft"
    held = file.node(op, *ports, name="held", domain=domain, **_ATTRIBUTES.get(op, {}))
    return file.give(file.node("DequantizeLinear", held, "y_s", zero, name="y"))


@pytest.mark.parametrize("op", _OPERATORS)
def test_operators_on_integers_are_written_out(op: str) -> None:
    """The same integers, but where a value lies between two: floats are rounded otherwise than sums of integers."""
    before = on_integers(op)
    model, result = retargeted(before)
    assert dict(result.done)["written_out"] == 1 and result.refused == ()
    assert errors(to_proto(model)) == {}
    draw = {"x": np.random.default_rng(3).normal(0, 3, (1, 4, 8, 8)).astype(np.float32)}
    (one,), (other,) = as_written(before, draw), as_written(to_proto(model), draw)
    steps = np.abs(np.rint((one - other) / _Q["y"]))
    assert steps.max() <= 1 and np.count_nonzero(steps) <= 0.02 * steps.size


def test_operators_that_find_their_scales_while_they_run_are_told(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic  # noqa: TID251

    onnx.save(residual_net(), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "made.onnx")
    model, result = retargeted(onnx.load(tmp_path / "made.onnx"))
    assert result.done == () and {each.node for each in result.refused} >= {"x_QuantizeLinear", "stem_quant"}
    assert all("stands for no float operator with static scales" in each.reason for each in result.refused)
    assert set(errors(to_proto(model))) == {"qoperator_form"}


def test_what_onnxruntimes_optimizer_writes_is_refused() -> None:
    file = File(kind=np.int8)
    weight = file.weight("w", 4, 4, 1, 1)
    fused = file.node("FusedConv", file.pair("x"), weight, name="fused", domain="com.microsoft", activation="Relu")
    gelu = file.node("Gelu", fused, name="gelu", domain="com.microsoft")
    model = file.give(gelu)
    assert {each.place.name for each in found(model, "tensorrt") if each.rule == "unread_operator"} == {"n_fused"}
    assert not [each for each in found(model) if each.rule == "unread_operator"], "onnxruntime has both"


def test_other_domains_may_be_plugins() -> None:
    file = File(kind=np.int8)
    model = file.give(file.node("Mine", file.pair("x"), name="mine", domain="vendor"))
    told = [each.severity.value for each in found(model, "tensorrt") if each.rule == "unread_operator"]
    assert told == ["warning"]
    model.graph.node[-1].CopyFrom(helper.make_node("Mine", ["x_q_dq"], ["mine"], name="n_mine", domain="trt.plugins"))
    assert not [each for each in found(model, "tensorrt") if each.rule == "unread_operator"]
