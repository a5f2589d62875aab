"""Sums that saturate without VNNI: the emulation against the runtime, and weights that cannot saturate anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from qdsl.capability import load
from qdsl.capability.sums import named
from qdsl.diag import Diagnostics, QdslError
from qdsl.graph import from_proto
from qdsl.lang import loads
from qdsl.plan import make
from qdsl.quant import dequantize, quantize_weight, weight_parameters
from qdsl.quant.guard import exact, pair_sums
from qdsl.spec import DTYPES, UNGUARDED, Granularity, Guard, Scheme
from qdsl.spec.plan import Plan
from tests.saturation import conv_sums, has_vnni, paired

Array = NDArray[Any]
CONV = Guard((2, 3, 1))
SHAPES = [  # in, out, kernel, group, stride, pad
    (16, 8, 3, 1, 1, 1),
    (3, 8, 3, 1, 2, 1),
    (5, 7, 3, 1, 1, 0),
    (16, 16, 1, 1, 1, 0),
    (8, 16, 3, 4, 1, 1),
    (8, 8, 3, 8, 1, 1),
    (8, 16, 3, 8, 1, 1),
    (7, 9, 5, 1, 1, 2),
]


def scheme(name: str, symmetric: bool = True, grain: str = "per_channel", **more: Any) -> Scheme:
    return Scheme(DTYPES[name], symmetric, Granularity(grain), **more)


def ran(node: onnx.NodeProto, x: Array, out: int, constants: dict[str, Array]) -> Array:
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", out, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {"x": x})[0]
    return found


def this_cpu(kernel: str) -> str:
    """What the emulation has to compute to equal this machine."""
    return "exact" if has_vnni() else kernel


# --- the oracle -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_emulated_qlinearconv_is_the_runtimes(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    cin, cout, k, group, stride, pad = shape
    w = draw.integers(-127, 128, (cout, cin // group, k, k)).astype(np.int8)
    x, zero, scale = draw.integers(0, 256, (cin, 9, 9)).astype(np.uint8), 77, np.float32(2000)
    constants: dict[str, Any] = {
        "one": np.float32(1), "xz": np.uint8(zero), "w": w, "wz": np.int8(0), "ys": scale, "yz": np.uint8(128),
    }  # fmt: skip
    names = ["x", "one", "xz", "w", "one", "wz", "ys", "yz"]
    node = helper.make_node("QLinearConv", names, ["y"], pads=[pad] * 4, strides=[stride] * 2, group=group)
    found = ran(node, x[None], TensorProto.UINT8, constants)[0]
    sums = conv_sums(x, zero, w, 0, group=group, stride=stride, pad=pad, kernel=this_cpu("QLinearConv"))
    expected = np.clip(np.rint(sums.astype(np.float32) * (np.float32(1) / scale)) + 128, 0, 255)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_emulated_convinteger_is_the_runtimes(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(1)
    cin, cout, k, group, stride, pad = shape
    w = draw.integers(1, 256, (cout, cin // group, k, k)).astype(np.uint8)
    x, zero = draw.integers(-128, 128, (cin, 9, 9)).astype(np.int8), -51
    constants: dict[str, Any] = {"w": w, "xz": np.int8(zero), "wz": np.uint8(128)}
    node = helper.make_node(
        "ConvInteger", ["x", "w", "xz", "wz"], ["y"], pads=[pad] * 4, strides=[stride] * 2, group=group
    )
    found = ran(node, x[None], TensorProto.INT32, constants)[0]
    sums = conv_sums(x, zero, w, 128, group=group, stride=stride, pad=pad, kernel=this_cpu("ConvInteger"))
    np.testing.assert_array_equal(found, sums)


@pytest.mark.parametrize("shape", [(1, 64, 8), (5, 63, 16), (8, 129, 33), (3, 2048, 10)], ids=str)
def test_the_emulated_matmulinteger_is_the_runtimes(shape: tuple[int, int, int]) -> None:
    draw = np.random.default_rng(2)
    m, k, n = shape
    x, w = draw.integers(0, 256, (m, k)).astype(np.uint8), draw.integers(-127, 128, (k, n)).astype(np.int8)
    constants: dict[str, Any] = {"w": w, "xz": np.uint8(100), "wz": np.int8(0)}
    found = ran(helper.make_node("MatMulInteger", ["x", "w", "xz", "wz"], ["y"]), x, TensorProto.INT32, constants)
    raw = x.astype(np.int64) @ w.astype(np.int64) if has_vnni() else paired(x, w)
    np.testing.assert_array_equal(found, raw - 100 * w.astype(np.int64).sum(0))


# --- weights that cannot saturate -----------------------------------------------------------------------------------

WEIGHTS = st.tuples(
    st.integers(0, 1 << 16),
    st.sampled_from([(4, 3, 3, 3), (5, 16, 1, 1), (2, 7, 5, 5), (3, 2, 1, 2)]),
    st.sampled_from([0.0, 1.0, 3.0]),
)


def drawn(seed: int, shape: tuple[int, ...], tails: float) -> Array:
    draw = np.random.default_rng(seed)
    return (draw.standard_normal(shape) * np.exp(tails * draw.standard_normal(shape))).astype(np.float32)


@given(WEIGHTS, st.sampled_from(["per_channel", "per_tensor"]))
def test_a_guarded_weight_is_added_exactly_whatever_it_is_multiplied_with(
    weight: tuple[int, tuple[int, ...], float], grain: str
) -> None:
    value, of = drawn(*weight), scheme("int8", grain=grain)
    params = weight_parameters(value, of, 0 if grain == "per_channel" else None, guard=CONV)
    stored = quantize_weight(value, of, params, CONV).values
    rows = stored.transpose(0, 2, 3, 1).reshape(len(stored), -1)
    for signs in (rows > 0, rows < 0):  # the worst there is: 255 beside all weights of one sign
        worst = np.where(signs, 255, 0)
        for row, x in zip(rows, worst, strict=True):
            assert paired(x[None], row[:, None])[0, 0] == x @ row.astype(np.int64)


@given(WEIGHTS)
def test_a_guarded_scale_is_the_least_one(weight: tuple[int, tuple[int, ...], float]) -> None:
    value, of = drawn(*weight), scheme("int8")
    plain, params = (weight_parameters(value, of, 0, guard=guard) for guard in (UNGUARDED, CONV))
    safe = exact(quantize_weight(value, of, plain).values, CONV, 0)
    np.testing.assert_array_equal(params.scale[safe], plain.scale[safe])
    assert np.all(params.scale[~safe] > plain.scale[~safe])
    assert np.all(params.scale <= 2.01 * plain.scale)
    tighter = weight_parameters(value, of, 0, guard=CONV)
    shrunk = np.asarray(params.scale * np.float32(0.998), np.float32)
    stored = quantize_weight(value, of, type(tighter)(shrunk, params.zero_point, params.dtype, 0)).values
    assert not exact(stored, CONV, 0)[~safe].any()


@given(WEIGHTS, st.booleans(), st.sampled_from(["per_channel", "per_tensor"]))
def test_an_unsigned_weight_has_room_for_two(
    weight: tuple[int, tuple[int, ...], float], symmetric: bool, grain: str
) -> None:
    if grain == "per_channel" and not symmetric:
        return
    guard = Guard((1, 2, 3), lowest=True)
    value, of = drawn(*weight), scheme("uint8", symmetric, grain)
    params = weight_parameters(value, of, 0 if grain == "per_channel" else None, guard=guard)
    stored = quantize_weight(value, of, params, guard).values
    assert pair_sums(stored, guard, None)[1].max() <= 256
    assert stored.min() >= 1
    assert len(set(params.zero_point.reshape(-1).tolist())) == 1
    span = np.abs(value).max()
    assert np.abs(dequantize(stored, params) - value).max() <= span / 60


@given(WEIGHTS)
def test_an_affine_weight_is_halved_where_its_zero_point_is_far_out(weight: tuple[int, tuple[int, ...], float]) -> None:
    guard, of = Guard((2, 3, 1), lowest=True), scheme("int8", symmetric=False)
    value = drawn(*weight) + 2
    params = weight_parameters(value, of, 0, guard=guard)
    stored = quantize_weight(value, of, params, guard).values
    assert exact(stored, guard, 0).all()
    assert stored.min() > -128


def test_channels_that_cannot_saturate_are_left_alone() -> None:
    value = np.array([[[[1.27]], [[0.005]]], [[[1.27]], [[1.27]]]], np.float32)
    params = weight_parameters(value, scheme("int8"), 0, guard=CONV)
    plain = weight_parameters(value, scheme("int8"), 0)
    assert params.scale[0] == plain.scale[0]
    assert params.scale[1] == pytest.approx(1.27 / 64.5, rel=1e-3)  # 64 + 64


# --- which weights a plan guards ------------------------------------------------------------------------------------

HEAD = 'recipe demo\nmodel onnx "m.onnx"\ndata calib from npz "calib.npz"\n'
STATIC = "quantize static {{ weights {weights}; calibrate minmax on calib }}\ntarget ort {{ {target} }}\n"
DYNAMIC = "quantize dynamic {{ weights {weights} }}\ntarget ort {{ {target} }}\nlayers all {{ weights {weights} }}\n"
MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,8,6,6] x) => (float[8,6] y)
{ [conv] a = Conv <pads=[1,1,1,1]> (x, w) [deep] b = Conv <group=8, pads=[1,1,1,1]> (a, d)
  [flat] f = Flatten <axis=2> (b) [gemm] y = Gemm <transB=1> (f, t) }"""


def planned(mode: str, weights: str = "8 bit", target: str = "") -> Plan:
    proto = onnx.parser.parse_model(MODEL)
    for name, shape in (("w", (8, 8, 3, 3)), ("d", (8, 1, 3, 3)), ("t", (6, 36))):
        proto.graph.initializer.append(numpy_helper.from_array(drawn(1, shape, 0.0), name))
    recipe = loads(HEAD + mode.format(weights=weights, target=target), name="demo.q").recipe
    return make(recipe, from_proto(proto).view(), "ort", float_bytes=1000, diags=Diagnostics())


def guards(plan: Plan) -> dict[str, Guard]:
    return {weight.node: weight.guard for weight in plan.weights}


def test_static_weights_are_guarded_in_the_order_of_their_kernel() -> None:
    assert guards(planned(STATIC)) == {"conv": Guard((2, 3, 1)), "deep": UNGUARDED, "gemm": Guard((1,))}


def test_dynamic_weights_are_guarded_in_the_order_of_theirs() -> None:
    found = guards(planned(DYNAMIC))
    assert found["conv"] == found["deep"] == Guard((1, 2, 3), lowest=True)
    assert found["gemm"] == Guard((1,))


@pytest.mark.parametrize(
    ("target", "conv"),
    [
        ("cpu any", Guard((2, 3, 1))),
        ("cpu x86", Guard((2, 3, 1))),
        ("cpu x86_vnni", UNGUARDED),
        ("cpu x86_vnni, arm_dotprod", UNGUARDED),
        ("exact session", UNGUARDED),
    ],
)
def test_a_recipe_names_the_cpus(target: str, conv: Guard) -> None:
    assert guards(planned(STATIC, target=target))["conv"] == conv


def test_affine_int8_leaves_out_what_wraps_on_arm() -> None:
    assert guards(planned(STATIC, "int8 affine per_channel"))["conv"] == Guard((2, 3, 1), lowest=True)
    assert guards(planned(STATIC, "int8 affine per_channel", "cpu arm_dotprod"))["conv"] == UNGUARDED
    assert guards(planned(STATIC, "int8 affine per_channel", "cpu arm"))["conv"] == Guard((), lowest=True)


@pytest.mark.parametrize("weights, spared", [("int8 symmetric", True), ("int8 affine", False)])
def test_a_depthwise_kernel_takes_one_zero_point(weights: str, spared: bool) -> None:
    assert (guards(planned(STATIC, f"{weights} per_channel"))["deep"].pairs == ()) is spared


def test_unsigned_weights_are_exact_as_they_are() -> None:
    assert set(guards(planned(STATIC, "uint8")).values()) == {UNGUARDED}


def test_a_family_includes_its_instruction_sets() -> None:
    cpus = load("ort_cpu").cpus
    assert named(cpus, ("x86",)) == {"x86", "x86_vnni"}
    assert named(cpus, ("arm_dotprod",)) == {"arm_dotprod"}
    assert named(cpus, ()) == named(cpus, ("any",)) == {"x86", "x86_vnni", "arm", "arm_dotprod"}


def test_a_weight_that_two_nodes_read_needs_other_means_than_the_option() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,8,6,6] x) => (float[1,8,6,6] y)
    { [one] a = Conv <pads=[1,1,1,1]> (x, w) [two] y = Conv <pads=[1,1,1,1]> (a, w) }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(drawn(1, (8, 8, 3, 3), 0.0), "w"))
    recipe = loads(HEAD + STATIC.format(weights="8 bit", target="exact session"), name="demo.q").recipe
    with pytest.raises(QdslError, match="does not load weight `w`"):
        make(recipe, from_proto(proto).view(), "ort", float_bytes=1000, diags=Diagnostics())


def test_an_unknown_cpu_is_refused_at_its_place() -> None:
    with pytest.raises(QdslError, match="cpu"):
        loads(HEAD + STATIC.format(weights="8 bit", target="cpu haswell"), name="demo.q")


@pytest.mark.filterwarnings("error")
def test_weights_near_the_largest_float_get_a_finite_scale() -> None:
    weight = np.full((2, 4, 1, 1), 3e38, np.float32)
    params = weight_parameters(weight, scheme("int8"), 0, "w", CONV)
    assert np.isfinite(params.scale).all()
    assert exact(quantize_weight(weight, scheme("int8"), params, CONV).values, CONV, 0).all()
