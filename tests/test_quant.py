"""Numerics: properties of scales and rounding, and agreement with ONNX Runtime bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import TensorProto, helper

from qdsl.diag import QdslError
from qdsl.quant import (
    BIAS_LIMIT,
    SMALLEST_SCALE,
    QParams,
    dequantize,
    limits,
    quantize,
    quantize_bias,
    quantize_weight,
    raise_scale_for_bias,
    scale_zero_point,
    storage_type,
    weight_parameters,
)
from qdsl.spec import DTYPES, Granularity, Scheme

INTEGERS = [name for name, dtype in DTYPES.items() if dtype.integer]
PER_TENSOR, PER_CHANNEL, PER_BLOCK = Granularity


def scheme(name: str, symmetric: bool = False, **more: Any) -> Scheme:
    return Scheme(DTYPES[name], symmetric, **more)


SCHEMES = [
    scheme(name, symmetric, reduce_range=reduce) for name in INTEGERS for symmetric in (0, 1) for reduce in (0, 1)
] + [scheme("int8", bool(s), emulated_bits=6) for s in (0, 1)]


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    """Float32 values of [low, high]."""
    return st.floats(float(np.float32(low)), float(np.float32(high)), width=32)


finite = floats(-1e30, 1e30)


def params_of(low: float, high: float, of: Scheme) -> QParams:
    scale, zero = scale_zero_point(low, high, of)
    return QParams(np.asarray(scale), np.asarray(zero, storage_type(of.dtype)), of.dtype)


@pytest.mark.parametrize(
    ("of", "ends"),
    [
        (scheme("int8"), (-128, 127)),
        (scheme("int8", True), (-127, 127)),
        (scheme("uint8", True), (1, 255)),
        (scheme("int4", True), (-8, 7)),
        (scheme("int8", True, reduce_range=True), (-64, 64)),
        (scheme("uint8", reduce_range=True), (0, 127)),
        (scheme("int8", True, emulated_bits=6), (-32, 31)),
        (scheme("uint16"), (0, 65535)),
    ],
    ids=str,
)
def test_limits(of: Scheme, ends: tuple[int, int]) -> None:
    assert limits(of) == ends


def test_a_width_past_its_type_is_refused() -> None:
    with pytest.raises(ValueError, match="no integers"):
        limits(scheme("int4", emulated_bits=6))


@pytest.mark.parametrize(
    ("low", "high", "of", "scale", "zero"),
    [
        (-0.8, 0.1, scheme("int4", True), 0.1, 0),
        (-0.7, 0.7, scheme("int4", True), 0.1, 0),
        (-0.8, 0.7, scheme("uint4", True), 0.1, 8),
        (-0.1, 3.1, scheme("int8", True, emulated_bits=6), 0.1, 0),
        (0.0, 2.55, scheme("uint8"), 0.01, 0),
        (0.5, 2.55, scheme("uint8"), 0.01, 0),
        (-2.55, -1.0, scheme("uint8"), 0.01, 255),
        (-1.0, 1.55, scheme("uint8"), 0.01, 100),
        (-1.0, 1.55, scheme("int8"), 0.01, -28),
        (-0.5, 1.27, scheme("int8", True), 0.01, 0),
        (-0.5, 1.27, scheme("uint8", True), 0.01, 128),
        (-0.64, 0.1, scheme("int8", True, reduce_range=True), 0.01, 0),
        (0.0, 0.0, scheme("uint8"), 1.0, 0),
        (0.0, 1e-44, scheme("uint8"), float(SMALLEST_SCALE), 0),
    ],
)
def test_scale_and_zero_point(low: float, high: float, of: Scheme, scale: float, zero: int) -> None:
    assert scale_zero_point(low, high, of) == (np.float32(scale), zero)


def test_huge_ranges_keep_a_finite_scale() -> None:
    top = float(np.finfo(np.float32).max)
    scale, zero = scale_zero_point(-top, top, scheme("uint8"))
    assert np.isfinite(scale)
    assert zero == 128


@pytest.mark.parametrize("ends", [(0.0, float("nan")), (float("-inf"), 0.0)])
def test_a_range_without_end_names_its_tensor(ends: tuple[float, float]) -> None:
    with pytest.raises(QdslError, match="tensor `/conv_out`") as raised:
        scale_zero_point(*ends, scheme("uint8"), name="/conv_out")
    assert raised.value.diagnostics[0].code == "range-not-finite"


def test_a_range_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="wrong order"):
        scale_zero_point(1.0, -1.0, scheme("uint8"))


@given(finite, finite, st.sampled_from(SCHEMES), hnp.arrays(np.float32, 20, elements=floats(0, 1)))
@example(-0.10450, 0.0, scheme("uint8"), np.linspace(0, 1, 20, dtype=np.float32))
def test_values_in_range_come_back_within_half_a_scale(a: float, b: float, of: Scheme, at: NDArray[Any]) -> None:
    low, high = min(a, b), max(a, b)
    params = params_of(low, high, of)
    x = (low + at.astype(np.float64) * (float(high) - low)).astype(np.float32)
    back = dequantize(quantize(x, params, limits(of)), params)
    slack = 1e-5 if of.dtype.bits < 16 else 2e-2  # float32 division and product, relative to one of up to 2^16 steps
    assert np.all(np.abs(back.astype(np.float64) - x) <= float(params.scale) * (0.5 + slack))


@given(finite, finite, st.sampled_from(SCHEMES))
def test_zero_is_exact(a: float, b: float, of: Scheme) -> None:
    params = params_of(min(a, b), max(a, b), of)
    assert limits(of)[0] <= int(params.zero_point) <= limits(of)[1]
    assert dequantize(quantize(np.zeros(1, np.float32), params), params) == 0.0


@given(finite, finite, st.sampled_from(SCHEMES), hnp.arrays(np.float32, 30, elements=finite))
def test_quantizing_is_monotone(a: float, b: float, of: Scheme, x: NDArray[Any]) -> None:
    q = quantize(np.sort(x), params_of(min(a, b), max(a, b), of))
    assert np.all(np.diff(q.astype(np.int64)) >= 0)


@given(floats(1e-6, 1e6), st.sampled_from(["uint8", "int8", "uint16", "int4"]))
def test_a_range_that_starts_at_zero_has_the_lowest_zero_point(high: float, name: str) -> None:
    assert scale_zero_point(0.0, high, scheme(name))[1] == DTYPES[name].qmin


@given(floats(-1e4, 0), floats(0, 1e4), st.sampled_from(["uint8", "int8", "uint4", "uint16"]))
@example(0.0, 6.0, "uint8")
@example(-1.0, 1.0, "int8")
def test_within_keeps_every_representable_value_inside_the_bounds(low: float, high: float, name: str) -> None:
    scale, zero = scale_zero_point(low, high, scheme(name), within=(low, high))
    dtype = DTYPES[name]
    below = np.float32((dtype.qmin or 0) - zero) * scale
    above = np.float32((dtype.qmax or 0) - zero) * scale
    assert low <= below or (scale == SMALLEST_SCALE or low == high == 0)
    assert above <= high or (scale == SMALLEST_SCALE or low == high == 0)
    free, _ = scale_zero_point(low, high, scheme(name))
    assert scale <= free


def test_within_leaves_a_symmetric_scheme_alone() -> None:
    inside = scale_zero_point(0.0, 6.0, scheme("int8", True), within=(0.0, 6.0))
    assert inside == scale_zero_point(0.0, 6.0, scheme("int8", True))


weights = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=floats(-1e3, 1e3))


@pytest.mark.slow
@given(weights, st.sampled_from([s for s in SCHEMES if s.dtype.bits <= 8]), st.integers(0, 1))
def test_each_channel_is_as_if_it_were_alone(weight: NDArray[Any], of: Scheme, axis: int) -> None:
    weight[np.abs(weight) < 1e-3] = 1e-3  # no channel of zeros: those take a neighbour's scale
    split = Scheme(of.dtype, of.symmetric, PER_CHANNEL, None, of.reduce_range, False, of.emulated_bits)
    whole = quantize_weight(weight, split, weight_parameters(weight, split, axis))
    for index in range(weight.shape[axis]):
        part = weight.take([index], axis)
        alone = quantize_weight(part, split, weight_parameters(part, split, axis))
        np.testing.assert_array_equal(whole.values.take([index], axis), alone.values)
        assert whole.params.scale[index] == alone.params.scale[0]


@pytest.mark.slow
@given(weights, st.integers(1, 4), st.integers(0, 1))
def test_per_block_is_per_tensor_on_each_block(weight: NDArray[Any], block: int, axis: int) -> None:
    weight[np.abs(weight) < 1e-3] = 1e-3
    split, plain = scheme("int4", True, granularity=PER_BLOCK, block=block), scheme("int4", True)
    moved = np.moveaxis(weight, axis, 0)
    whole = quantize_weight(weight, split, weight_parameters(weight, split, axis))
    ints = np.moveaxis(whole.values, axis, 0)
    for start in range(0, moved.shape[0], block):
        for rest in np.ndindex(moved.shape[1:]):
            part = moved[(slice(start, start + block), *rest)]
            alone = quantize_weight(part, plain, params_of(min(part.min(), 0), max(part.max(), 0), plain))
            np.testing.assert_array_equal(ints[(slice(start, start + block), *rest)], alone.values)


def test_a_channel_of_zeros_takes_the_largest_scale() -> None:
    weight = np.array([[1.27, 0.5], [0.0, 0.0], [2.54, -1.0]], np.float32)
    of = scheme("int8", True, granularity=PER_CHANNEL)
    params = weight_parameters(weight, of, 0)
    np.testing.assert_allclose(params.scale, [0.01, 0.02, 0.02], rtol=1e-6)
    assert np.all(quantize_weight(weight, of, params).values[1] == 0)


def test_a_weight_may_be_a_single_number() -> None:
    weight = np.asarray(2.5, np.float32)
    stored = quantize_weight(weight, scheme("uint8"), weight_parameters(weight, scheme("uint8"), None))
    assert stored.values.shape == stored.params.scale.shape == stored.params.zero_point.shape == ()
    assert dequantize(stored.values, stored.params) == np.float32(2.5)


def test_a_weight_of_zeros() -> None:
    of = scheme("int8", True, granularity=PER_CHANNEL)
    params = weight_parameters(np.zeros((3, 2), np.float32), of, 0)
    np.testing.assert_array_equal(params.scale, np.ones(3, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(bad: float) -> None:
    weight = np.ones((2, 3), np.float32)
    weight[1, 2] = bad
    with pytest.raises(QdslError, match=r"weight `conv.weight` holds \w+ at \[1, 2\]") as raised:
        weight_parameters(weight, scheme("int8", True), None, "conv.weight")
    assert raised.value.diagnostics[0].code == "weight-not-finite"


def test_bias_has_the_scale_of_the_accumulator() -> None:
    weight_scale = np.array([0.01, 0.02], np.float32)
    q, scale = quantize_bias(np.array([1.0, -3.0], np.float32), np.float32(0.5), weight_scale)
    np.testing.assert_array_equal(scale, np.float32(0.5) * weight_scale)
    np.testing.assert_array_equal(q, [200, -300])


@given(
    hnp.arrays(np.float32, 4, elements=floats(0, 1)),
    hnp.arrays(np.float32, 4, elements=floats(-1e6, 1e6)),
    floats(2.0**-60, 1e3),
)
def test_a_raised_scale_always_holds_its_bias(scale: NDArray[Any], bias: NDArray[Any], step: float) -> None:
    scale = np.maximum(scale, SMALLEST_SCALE)
    raised = raise_scale_for_bias(scale, np.float32(step), bias)
    q, _ = quantize_bias(bias, np.float32(step), raised)
    assert np.all(np.abs(q.astype(np.int64)) <= BIAS_LIMIT + 512)
    assert np.all(raised >= scale)
    fits = np.abs(bias) / (np.float64(np.float32(step)) * scale) <= BIAS_LIMIT * 0.999
    np.testing.assert_array_equal(raised[fits], scale[fits])


def test_one_scale_is_raised_for_the_largest_bias() -> None:
    raised = raise_scale_for_bias(np.asarray(1e-12, np.float32), np.float32(1.0), np.array([0.1, 1e3], np.float32))
    assert raised.shape == ()
    assert quantize_bias(np.array([0.1, 1e3], np.float32), np.float32(1.0), raised)[0][1] <= BIAS_LIMIT


def test_a_bias_without_a_scale_is_named() -> None:
    with pytest.raises(QdslError, match=r"bias `conv.bias` has no scale"):
        quantize_bias(np.ones(1, np.float32), np.float32(1e30), np.asarray(1e30, np.float32), "conv.bias")


# ---- agreement with ONNX Runtime -----------------------------------------------------------------------------------


def runtime_round_trip(x: NDArray[Any], params: QParams) -> tuple[NDArray[Any], NDArray[Any]]:
    """What ONNX Runtime's QuantizeLinear and DequantizeLinear make of `x`; the integers are read through a Cast."""
    element = getattr(TensorProto, params.dtype.name.upper())
    attrs = {} if params.axis is None else {"axis": params.axis}
    attrs |= {} if params.block is None else {"block_size": params.block}
    zero = helper.make_tensor("z", element, params.zero_point.shape, params.zero_point.flatten().tolist())
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attrs),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attrs),
            helper.make_node("Cast", ["q"], ["i"], to=TensorProto.INT32),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [
            helper.make_tensor_value_info("i", TensorProto.INT32, x.shape),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape),
        ],
        [onnx.numpy_helper.from_array(params.scale, "s"), zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ints, floats = session.run(None, {"x": x})
    return ints, floats


CASES = [
    pytest.param(scheme(name, symmetric, granularity=granularity, block=block), axis, id=f"{name}-{symmetric}-{axis}")
    for name in INTEGERS
    for symmetric in (False, True)
    for granularity, block, axis in ((PER_TENSOR, None, None), (PER_CHANNEL, None, 1), (PER_BLOCK, 16, 0))
]


@pytest.mark.parametrize(("of", "axis"), CASES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(1e-3, 1e3))
def test_agrees_with_onnx_runtime_bit_for_bit(of: Scheme, axis: int | None, seed: int, spread: float) -> None:
    draw = np.random.default_rng(seed)
    like = (draw.standard_normal((32, 16)) * spread).astype(np.float32)
    params = weight_parameters(like, of, axis)
    x = (draw.standard_normal((32, 16)) * spread * 1.5).astype(np.float32)
    if axis is None:  # exact halves, zero and far outside (under 8 bits the runtime goes through an int32)
        far = np.float32(1e38 if of.dtype.bits >= 8 else 1e9 * float(params.scale))
        x[0] = (np.arange(16, dtype=np.float32) - 8.5) * params.scale
        x[1, :4] = [0.0, -0.0, far, -far]
    ours = quantize(x, params)
    ints, floats = runtime_round_trip(x, params)
    np.testing.assert_array_equal(ours.astype(np.int32), ints)
    np.testing.assert_array_equal(dequantize(ours, params).view(np.int32), floats.view(np.int32))
