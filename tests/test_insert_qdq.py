"""The inserter: goldens in ONNX's text form, exactness against the plan, and what ONNX Runtime makes of the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from quantized import (
    OUT,
    PER_BLOCK,
    PER_CHANNEL,
    S8,
    U8,
    Measured,
    SmallPlan,
    bias,
    measured,
    model_of,
    origins,
    run,
    runs_as,
    scheme,
    tensor,
    weight,
)

from qdsl.diag import QdslError
from qdsl.graph import Model, to_proto
from qdsl.passes.index import make
from qdsl.passes.insert_qdq import InsertQDQ, least_opset
from qdsl.quant import QParams, quantize
from qdsl.rewrite import run as run_passes
from qdsl.spec import DTYPES, Guard
from qdsl.spec.plan import Calibration, Origin

Golden = Callable[[str, str], None]


def inserted(model: Model, plan: SmallPlan, ranges: Measured) -> ModelProto:
    """The model after the pass, run by the runner (so its contract is checked) and checked by ONNX."""
    run_passes([make("insert_qdq", plan=plan, ranges=ranges)], model)
    proto = to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def shown(model: Model, plan: SmallPlan, ranges: Measured) -> str:
    """Graph in, graph out, and where each new node comes from."""
    before = onnx.printer.to_text(to_proto(model).graph)
    after = inserted(model, plan, ranges)
    found = origins(after.graph.node)
    rows = "\n".join(f"{name}: {origin}" for name, origin in found.items())
    return f"{before}\n\n---\n\n{onnx.printer.to_text(after.graph)}\n\n---\n\n{rows}\n"


CONV_RELU = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { [conv] c = Conv(x, w, b) [relu] y = Relu(c) }"
CONV_PLAN = SmallPlan(
    (tensor("x", ("conv", 0)), tensor("y", OUT)), (weight("conv", 1, "w"),), (bias("conv", 2, "b", "x"),)
)
# How QLinearConv adds, so that every CPU gives the same answer.
SUMMED = Guard((2, 3, 1))
CONV_RANGES = measured(x=(-1.0, 1.55), y=(0.0, 2.55))


def conv_relu(**more: Any) -> Model:
    w = np.array([1.27, -0.5, 0.254, 0.1]).reshape(2, 2, 1, 1)
    return model_of(CONV_RELU, w=w, b=np.array([0.5, -0.25]), **more)


def test_conv_and_relu(golden: Golden) -> None:
    golden("insert/conv_relu.txt", shown(conv_relu(), CONV_PLAN, CONV_RANGES))


def test_residual(golden: Golden) -> None:
    model = model_of(
        "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { [conv] c = Conv(x, w) [add] s = Add(c, x) [relu] y = Relu(s) }",
        w=np.array([1.27, -0.5, 0.254, 0.1]).reshape(2, 2, 1, 1),
    )
    plan = SmallPlan(
        (tensor("c", ("add", 0)), tensor("x", ("add", 1), ("conv", 0)), tensor("y", OUT)), (weight("conv", 1, "w"),)
    )
    golden("insert/residual.txt", shown(model, plan, measured(c=(-1, 1), x=(-1, 1), y=(0, 2))))


def test_concat_with_one_scale(golden: Golden) -> None:
    model = model_of("g (float[1,2] a, float[1,2] b) => (float[1,4] y) { [cat] y = Concat <axis = 1> (a, b) }")
    plan = SmallPlan(
        (
            tensor("a", ("cat", 0), group="y"),
            tensor("b", ("cat", 1), group="y"),
            tensor("y", OUT, group="y", observe=False),
        )
    )
    golden("insert/concat_shared.txt", shown(model, plan, measured(a=(-1, 0.5), b=(0, 1.55))))


def test_an_edge_left_out_reads_the_float_value(golden: Golden) -> None:
    model = model_of("g (float[2] x) => (float[2] p, float[2] q) { [one] p = Neg(x) [two] q = Abs(x) }")
    golden("insert/edge_left_out.txt", shown(model, SmallPlan((tensor("x", ("two", 0)),)), measured(x=(0, 2.55))))


def test_a_graph_output_that_others_read_too(golden: Golden) -> None:
    model = model_of("g (float[2] x) => (float[2] y, float[2] z) { [one] y = Neg(x) [two] z = Abs(y) }")
    golden("insert/graph_output.txt", shown(model, SmallPlan((tensor("y", OUT),)), measured(y=(-1, 1.55))))


def test_every_new_node_says_where_it_comes_from() -> None:
    other = Origin("place", "base.q", 12)
    plan = replace(CONV_PLAN, tensors=(CONV_PLAN.tensors[0], replace(CONV_PLAN.tensors[1], origin=other)))
    model = conv_relu()
    old = {node.name for node in model.nodes()}
    proto = inserted(model, plan, CONV_RANGES)
    found = origins(proto.graph.node)
    assert {node.name for node in proto.graph.node} == old | set(found)
    assert not old & set(found)
    assert found["x_QuantizeLinear"] == "quantize static, line 4"
    assert found["y_DequantizeLinear"] == "place, base.q:12"


def test_it_fuses_into_one_integer_convolution(tmp_path: Path) -> None:
    found = runs_as(inserted(conv_relu(), CONV_PLAN, CONV_RANGES), tmp_path)
    assert found["QLinearConv"] == 1
    assert not found["Conv"] + found["Relu"] + found["FusedConv"]


def test_per_channel_at_an_old_opset_still_fuses(tmp_path: Path) -> None:
    proto = inserted(conv_relu(opset=11, ir=6), CONV_PLAN, CONV_RANGES)
    assert {(n.op_type, n.domain) for n in proto.graph.node if n.name == "w_DequantizeLinear"} == {
        ("DequantizeLinear", "com.microsoft")
    }
    assert runs_as(proto, tmp_path)["QLinearConv"] == 1


@pytest.mark.parametrize("high", [6.0, 1.0, 0.3, 3.7, 255.0, 1e-3])
@pytest.mark.parametrize("of", [U8, S8], ids=str)
def test_a_clip_is_dropped_after_calibration_reached_its_bound(high: float, of: Any, tmp_path: Path) -> None:
    text = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { [conv] c = Conv(x, w) [clip] y = Clip(c, lo, hi) }"
    model = model_of(text, w=(2, 2, 1, 1), lo=np.array(0.0), hi=np.array(high))
    top = float(np.float32(high))
    plan = SmallPlan((tensor("x", ("conv", 0), of=of), tensor("y", OUT, of=of)), (weight("conv", 1, "w"),))
    found = runs_as(inserted(model, plan, measured(x=(-1, 1), y=(0, top))), tmp_path)
    assert found["QLinearConv"] == 1
    assert not found["Clip"]


def test_a_measured_range_is_held_inside_the_activation_that_writes_it() -> None:
    model = model_of("g (float[2] x) => (float[2] y) { [relu] y = Relu(x) }")
    proto = inserted(model, SmallPlan((tensor("y", OUT),)), measured(y=(-0.5, 2.55)))
    values = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert values["y_scale"] == np.float32(0.01)
    assert values["zero_point_uint8_0"] == 0


def test_a_range_by_hand_is_used_as_it_is() -> None:
    model = model_of("g (float[2] x) => (float[2] y) { [relu] y = Relu(x) }")
    by_hand = Calibration("fixed", low=-1.0, high=1.55)
    proto = inserted(model, SmallPlan((tensor("y", OUT, observe=False, calibration=by_hand),)), measured())
    values = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert (values["y_scale"], values["zero_point_uint8_100"]) == (np.float32(0.01), 100)


def test_one_weight_under_two_schemes_is_stored_twice_and_under_one_once() -> None:
    text = "g (float[1,2] x) => (float[1,2] p, float[1,2] q, float[1,2] r) "
    text += "{ [one] p = MatMul(x, w) [two] q = MatMul(x, w) [three] r = MatMul(x, w) }"
    plain = scheme("int8", True)
    plan = SmallPlan(weights=(weight("one", 1, "w"), weight("two", 1, "w"), weight("three", 1, "w", plain, None)))
    proto = inserted(model_of(text, w=(2, 2)), plan, measured())
    reads = {node.name: node.input[1] for node in proto.graph.node if node.op_type == "MatMul"}
    assert reads["one"] == reads["two"] != reads["three"]
    assert sorted(t.name for t in proto.graph.initializer if t.name.startswith("w_quantized")) == [
        "w_quantized",
        "w_quantized_2",
    ]
    assert "w" not in {t.name for t in proto.graph.initializer}


def test_a_weight_with_one_float_reader_left_stays_in_the_file() -> None:
    text = "g (float[1,2] x) => (float[1,2] p, float[1,2] q) { [one] p = MatMul(x, w) [two] q = MatMul(x, w) }"
    proto = inserted(model_of(text, w=(2, 2)), SmallPlan(weights=(weight("one", 1, "w"),)), measured())
    assert {"w", "w_quantized"} <= {t.name for t in proto.graph.initializer}
    assert next(node for node in proto.graph.node if node.name == "two").input[1] == "w"


def test_a_constant_may_be_an_activation_operand() -> None:
    table = np.array([0.0, 2.55])
    model = model_of("g (float[2] x) => (float[2] y) { [add] y = Add(x, k) }", k=table)
    plan = SmallPlan((tensor("x", ("add", 0)), tensor("k", ("add", 1)), tensor("y", OUT)))
    proto = inserted(model, plan, measured(x=(0, 1), y=(0, 3.55)))
    values = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    np.testing.assert_array_equal(values["k_quantized"], [0, 255])
    assert "k" not in values
    assert run(proto, x=[0.0, 1.0])[0] == pytest.approx([0.0, 3.55], abs=0.02)


def test_a_tensor_read_twice_by_one_node() -> None:
    model = model_of("g (float[2] x) => (float[2] y) { [square] y = Mul(x, x) }")
    proto = inserted(model, SmallPlan((tensor("x", ("square", 0), ("square", 1)),)), measured(x=(0, 2.55)))
    assert [list(n.input) for n in proto.graph.node if n.name == "square"] == [["x_dequantized", "x_dequantized"]]


def test_names_already_taken_get_a_number() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { [x_QuantizeLinear] x_quantized = Neg(x) "
    text += "[two] y = Abs(x_quantized) [three] z = Abs(x) }"
    proto = inserted(model_of(text), SmallPlan((tensor("x", ("three", 0)),)), measured(x=(0, 1)))
    made = next(node for node in proto.graph.node if node.op_type == "QuantizeLinear")
    assert (made.name, made.output[0]) == ("x_QuantizeLinear_2", "x_quantized_2")


def test_a_width_that_no_type_has_is_held_by_a_clip() -> None:
    model = model_of("g (float[4] x) => (float[4] y) { [neg] y = Neg(x) }")
    six = scheme("uint8", emulated_bits=6)
    proto = inserted(model, SmallPlan((tensor("x", ("neg", 0), of=six),)), measured(x=(0, 6.3)))
    got = run(proto, x=[0.0, 0.17, 6.3, 9.0])[0]
    np.testing.assert_allclose(got, [0.0, -0.2, -6.3, -6.3], atol=1e-6)
    assert "x_Clip" in origins(proto.graph.node)


@pytest.mark.parametrize(
    ("of", "axis", "opset", "domain"),
    [
        (scheme("int4", True, granularity=PER_CHANNEL), 1, 17, "com.microsoft"),
        (scheme("int4", True, granularity=PER_CHANNEL), 1, 21, ""),
        (scheme("int4", True, granularity=PER_BLOCK, block=16), 0, 21, ""),
        (scheme("uint4", granularity=PER_BLOCK, block=16), 0, 21, ""),
        (scheme("int16", True), None, 17, "com.microsoft"),
        (scheme("int2", True), None, 25, ""),
    ],
    ids=str,
)
def test_other_weight_types_run(of: Any, axis: int | None, opset: int, domain: str) -> None:
    text = "g (float[1,32] x) => (float[1,8] y) { [mm] y = MatMul(x, w) }"
    w = np.random.default_rng(1).standard_normal((32, 8)).astype(np.float32)
    plan = SmallPlan(weights=(weight("mm", 1, "w", of, axis),))
    assert least_opset(plan) <= opset
    proto = inserted(model_of(text, opset=opset, ir=10, w=w), plan, measured())
    assert [n.domain for n in proto.graph.node if n.op_type == "DequantizeLinear"] == [domain]
    x = np.random.default_rng(2).standard_normal((1, 32)).astype(np.float32)
    steps = 2.0 ** (1 - of.dtype.bits) * 1.2
    np.testing.assert_allclose(run(proto, x=x)[0], x @ w, atol=steps * float(np.abs(w).max()) * np.abs(x).sum())


def test_blocks_need_a_newer_opset() -> None:
    plan = SmallPlan(weights=(weight("mm", 1, "w", scheme("int4", True, granularity=PER_BLOCK, block=16), 0),))
    model = model_of("g (float[1,32] x) => (float[1,8] y) { [mm] y = MatMul(x, w) }", w=(32, 8))
    with pytest.raises(QdslError, match="opset 17; the types of this plan need 21"):
        InsertQDQ(plan, measured()).apply(model)


def test_a_bias_that_would_overflow_raises_the_scale_of_its_channel() -> None:
    w = np.array([1e-12, 1e-12, 1.27, 0.5]).reshape(2, 2, 1, 1)
    model = model_of(CONV_RELU, w=w, b=np.array([1.0, 1.0]))
    plan = replace(CONV_PLAN, weights=(weight("conv", 1, "w", guard=SUMMED),))
    proto = inserted(model, plan, CONV_RANGES)
    x = np.ones((1, 2, 4, 4), np.float32)
    np.testing.assert_allclose(run(proto, x=x)[0][0, :, 0, 0], [1.0, 2.55], atol=0.011)


def test_the_bias_of_a_single_channel_keeps_its_axis_under_one_scale(tmp_path: Path) -> None:
    plan = replace(CONV_PLAN, weights=(weight("conv", 1, "w", scheme("int8", True), None),))
    text = CONV_RELU.replace("1,2,4,4] y", "1,1,4,4] y")
    model = model_of(text, w=np.array([1.27, -0.5]).reshape(1, 2, 1, 1), b=np.array([0.5]))
    proto = inserted(model, plan, CONV_RANGES)
    (stored,) = [t for t in proto.graph.initializer if t.name == "b_quantized"]
    assert list(stored.dims) == [1]
    assert runs_as(proto, tmp_path)["QLinearConv"] == 1
    assert run(proto, x=np.full((1, 2, 4, 4), 0.5))[0] == pytest.approx(0.5 * (1.27 - 0.5) + 0.5, abs=0.02)


def test_what_is_missing_and_what_is_not_finite_is_said_at_once_and_changes_nothing() -> None:
    model = model_of(CONV_RELU, w=np.full((2, 2, 1, 1), np.nan), b=np.zeros(2))
    before = to_proto(model).SerializeToString(deterministic=True)
    with pytest.raises(QdslError) as raised:
        InsertQDQ(CONV_PLAN, measured(x=(0, float("inf")))).apply(model)
    assert sorted(d.code for d in raised.value.diagnostics) == [
        "range-missing",
        "range-not-finite",
        "weight-not-finite",
    ]
    assert to_proto(model).SerializeToString(deterministic=True) == before


def test_an_output_that_a_body_reads_by_name_stays_float_and_says_so() -> None:
    text = """g (float[2] x, bool k) => (float[2] y, float[2] z) {
        [neg] y = Neg(x)
        [if] z = If <
            then_branch = a () => (float[2] p) { p = Abs(y) }, else_branch = b () => (float[2] q) { q = Neg(y) }
        > (k)
    }"""
    model = model_of(text)
    outcome = InsertQDQ(SmallPlan((tensor("y", OUT),)), measured(y=(0, 1))).apply(model)
    assert [refused.node for refused in outcome.refused] == ["y"]
    assert "body" in outcome.refused[0].reason
    assert not origins(to_proto(model).graph.node)


def test_a_plan_for_another_model_is_a_fault() -> None:
    with pytest.raises(ValueError, match="another model"):
        InsertQDQ(SmallPlan((tensor("x", ("relu", 0)),)), measured(x=(0, 1))).apply(conv_relu())


def test_it_does_exactly_what_the_plan_says_on_a_long_chain() -> None:
    count = 300
    body = " ".join(f"[n{i}] t{i + 1} = Neg(t{i})" for i in range(count))
    model = model_of(f"g (float[2] t0) => (float[2] t{count}) {{ {body} }}")
    plans = tuple(tensor(f"t{i}", (f"n{i}", 0)) for i in range(0, count, 2))
    proto = inserted(model, SmallPlan(plans), measured(**{f"t{i}": (0, 1) for i in range(0, count, 2)}))
    reads = {node.name: node.input[0] for node in proto.graph.node}
    for i in range(count):
        assert reads[f"n{i}"] == (f"t{i}_dequantized" if i % 2 == 0 else f"t{i}")
    # One zero point for the whole model, one scale per group.
    assert len(proto.graph.initializer) == len(plans) + 1


def test_the_quantized_convolution_is_integer_arithmetic_exactly() -> None:
    """A numpy reference of the same scheme: uint8 x int8 sums in int32, bias in int32, one rounding at the end."""
    draw = np.random.default_rng(3)
    w, b = draw.standard_normal((4, 3, 3, 3)), draw.standard_normal(4)
    x = draw.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    text = "g (float[1,3,8,8] x) => (float[1,4,6,6] y) { [conv] c = Conv(x, w, b) [relu] y = Relu(c) }"
    plan = replace(CONV_PLAN, weights=(weight("conv", 1, "w", guard=SUMMED),))
    proto = inserted(model_of(text, w=w, b=b), plan, measured(x=(-1, 1), y=(0, 8)))
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    zero = next(v for k, v in stored.items() if k.startswith("zero_point_uint8") and v != 0)
    q = quantize(x, QParams(stored["x_scale"], zero, DTYPES["uint8"])).astype(np.int64) - int(zero)
    windows = np.lib.stride_tricks.sliding_window_view(q, (3, 3), axis=(2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, stored["w_quantized"].astype(np.int64))
    sums += stored["b_quantized"].astype(np.int64).reshape(1, -1, 1, 1)
    step = (stored["x_scale"] * stored["w_scale"] / stored["y_scale"]).astype(np.float32).reshape(1, -1, 1, 1)
    expected = np.clip(np.rint(sums.astype(np.float32) * step), 0, 255).astype(np.float32) * stored["y_scale"]
    np.testing.assert_array_equal(run(proto, x=x)[0], expected)
