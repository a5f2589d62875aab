"""One construct each as an integer graph: which operators it becomes, and that these answer as the runtime does."""

from __future__ import annotations

import numpy as np
import pytest
from integer_models import interpreted
from integer_random import some_feeds, unfused
from lower_nets import Small, furthest, kinds, only
from onnx import TensorProto

from qdsl.integer.lower import lower
from qdsl.integer.records import AveragePool, Conv, Dense, Requantize, Softmax, Table

FLOATS = 1e-6


# --- what an operator does by itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "zero", "ends"),
    [
        (None, -128, (-128, 127)),
        (None, 0, (0, 127)),
        ((0.0, 6.0), -128, (-128, -8)),
        ((-1.0, 1.0), 10, (-10, 30)),
        ((2.0, 100.0), 0, (40, 127)),
    ],
)
def test_a_clip_behind_a_convolution_is_a_clamp(
    bounds: tuple[float, float] | None, zero: int, ends: tuple[int, int]
) -> None:
    net = Small(1, 3, 6, 6)
    y = net.op("Conv", net.pair("x"), net.weight(4, 3, 3, 3, scale=[0.01, 0.02, 0.03, 0.04]), net.normal(4))
    y = net.op("Relu", y) if bounds is None else net.op("Clip", y, *map(net.constant, bounds))
    proto = net.proto(net.pair(y, 0.05, zero))
    graph = lower(proto, "small")
    assert kinds(graph) == {"Quantize": 1, "Conv": 1, "Dequantize": 1}
    conv = only(graph, Conv)
    assert (conv.to.low, conv.to.high) == ends and len(conv.fused) == 2
    assert furthest(proto) == 0


def test_two_clips_that_share_nothing_leave_one_value() -> None:
    net = Small(1, 3, 6, 6)
    y = net.op("Relu", net.op("Conv", net.pair("x"), net.weight(4, 3, 3, 3)))
    y = net.op("Clip", y, net.constant(-2.0), net.constant(-1.0))
    proto = net.proto(net.pair(y, 0.05, 3))
    conv = only(lower(proto, "small"), Conv)
    assert (conv.to.low, conv.to.high) == (-17, -17)
    assert furthest(proto) == 0


def test_a_clip_that_somebody_else_reads_before_is_no_clamp() -> None:
    net = Small(1, 3, 6, 6)
    y = net.op("Conv", net.pair("x"), net.weight(4, 3, 3, 3))
    clipped = net.op("Relu", y)
    proto = net.proto(net.pair(clipped, 0.05, -128), y)
    assert kinds(lower(proto, "small")) == {"Quantize": 2, "Conv": 1, "Unary": 1, "Dequantize": 1}
    assert furthest(proto) <= 0.01  # a step of 0.05 where a sum of floats falls between two


@pytest.mark.parametrize("op", ["Add", "Mul", "Concat", "Softmax", "AveragePool"])
def test_clips_behind_other_operators_answer_as_the_runtime(op: str) -> None:
    net = Small(1, 4, 6, 6)
    x = net.pair("x", 0.03)
    y = {
        "Softmax": lambda: net.op("Softmax", x, axis=1),
        "AveragePool": lambda: net.op("AveragePool", x, kernel_shape=[2, 2]),
        "Concat": lambda: net.op("Concat", x, net.pair(x, 0.02), axis=1),
    }.get(op, lambda: net.op(op, x, net.pair(x, 0.02)))()
    clipped = net.op("Clip", y, net.constant(0.1), net.constant(0.4))
    assert furthest(net.proto(net.pair(clipped, 0.01, -100))) <= 0.01 / 0.3 + FLOATS


def test_zeros_before_a_convolution_or_a_mean_are_its_padding() -> None:
    net = Small(1, 3, 6, 6)
    pads = net.constant([0, 0, 1, 2, 0, 0, 0, 1], np.int64)
    padded = net.op("Pad", net.pair("x", zero=7), pads)
    y = net.pair(net.op("Conv", padded, net.weight(4, 3, 3, 3), strides=[2, 2], pads=[0, 1, 1, 0]))
    y = net.pair(net.op("AveragePool", net.op("Pad", y, pads), kernel_shape=[2, 2]), 0.04)
    graph = lower(net.proto(y), "small")
    assert kinds(graph) == {"Quantize": 1, "Conv": 1, "AveragePool": 1, "Dequantize": 1}
    assert only(graph, Conv).window.pads == (1, 3, 1, 1)
    assert only(graph, AveragePool).window.pads == (1, 2, 0, 1) and only(graph, AveragePool).counts_pads
    assert furthest(net.proto(y)) <= 0.04  # the runtime takes this mean in floats: a tie may be a step away


def test_padding_before_a_maximum_stays() -> None:
    net = Small(1, 3, 6, 6)
    padded = net.op("Pad", net.pair("x", zero=7), net.constant([0, 0, 1, 2, 0, 0, 0, 1], np.int64))
    proto = net.proto(net.pair(net.op("MaxPool", padded, kernel_shape=[2, 2]), zero=7))
    graph = lower(proto, "small")
    assert kinds(graph) == {"Quantize": 1, "Pad": 1, "MaxPool": 1, "Dequantize": 1}
    feeds = {"x": -np.abs(some_feeds(proto, 0)["x"])}  # so that the zeros win
    assert np.array_equal(interpreted(graph, feeds)[proto.graph.output[0].name].max(), np.float32(0))


# --- functions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        "Relu",
        "Sigmoid",
        "Tanh",
        "HardSwish",
        "HardSigmoid",
        "LeakyRelu",
        "Elu",
        "Exp",
        "Sqrt",
        "Erf",
        "Softplus",
    ],
)
def test_functions_between_pairs_are_tables(function: str) -> None:
    net = Small(1, 4, 3, 3)
    proto = net.proto(net.pair(net.op(function, net.pair("x", 0.02, 5)), 0.03, -20))
    graph = lower(proto, "small")
    assert kinds(graph) == {"Quantize": 1, "Table": 1, "Dequantize": 1}
    assert only(graph, Table).values.shape == (256,)
    assert furthest(proto) == 0


def test_a_chain_of_functions_of_one_tensor_is_one_table() -> None:
    net = Small(1, 4, 3, 3)
    x = net.pair("x", 0.02, 5)
    y = net.op("Mul", x, net.op("Sigmoid", x))
    y = net.op("Sub", net.constant(1.0), net.op("Mul", y, net.constant(0.3)))
    proto = net.proto(net.pair(net.op("Tanh", y), 0.01, -20))
    assert kinds(lower(proto, "small")) == {"Quantize": 1, "Table": 1, "Dequantize": 1}
    assert furthest(proto) == 0


def test_functions_that_floats_are_wanted_of_are_computed_in_floats() -> None:
    net = Small(1, 4, 3, 3)
    x = net.pair("x", 0.02, 5)
    proto = net.proto(net.op("Mul", x, net.op("Sigmoid", net.op("Add", x, net.constant(0.5)))))
    assert kinds(lower(proto, "small")) == {"Quantize": 1, "Dequantize": 1, "Binary": 2, "Unary": 1}
    assert furthest(proto) <= FLOATS


def test_a_pair_that_changes_nothing_is_nothing() -> None:
    net = Small(1, 4, 3, 3)
    y = net.op("Relu", net.pair(net.pair("x", 0.02, -128), 0.02, -128))
    proto = net.proto(net.pair(y, 0.02, -128))
    assert kinds(lower(proto, "small")) == {"Quantize": 1, "Dequantize": 1}
    assert furthest(proto) == 0


def test_another_scale_is_a_table() -> None:
    net = Small(1, 4, 3, 3)
    proto = net.proto(net.pair(net.pair("x", 0.02, -20), 0.03, 4))
    graph, feeds = lower(proto, "small"), some_feeds(proto, 0)
    assert kinds(graph) == {"Quantize": 1, "Table": 1, "Dequantize": 1}
    (want,) = unfused(proto, feeds).values()  # ONNX Runtime merges both pairs to one of a third scale
    assert np.array_equal(interpreted(graph, feeds)[graph.outputs[0]], want)


# --- biases ----------------------------------------------------------------------------------------------------------


def test_a_float_bias_is_rounded_to_the_steps_of_the_products_halves_to_even() -> None:
    net = Small(1, 1, 1, 4)
    steps = [0.5, 1.5, 2.5, -0.5, -1.5, 3.49, 1e6, -7e8]
    bias = net.constant(np.array(steps) * 2**-10)
    y = net.op("Conv", net.pair("x", 2**-5), net.weight(8, 1, 1, 1, scale=np.full(8, 2**-5)), bias)
    conv = only(lower(net.proto(net.pair(y, 0.5)), "small"), Conv)
    assert conv.bias.tolist() == [0, 2, 2, 0, -2, 3, 1_000_000, -700_000_000]


def test_a_bias_added_to_a_matrix_is_its_own() -> None:
    net = Small(1, 12)
    y = net.op("Add", net.op("MatMul", net.pair("x"), net.weight(12, 5)), net.normal(5))
    proto = net.proto(net.pair(net.op("Relu", y), 0.02, -128))
    graph = lower(proto, "small")
    assert kinds(graph) == {"Quantize": 1, "Dense": 1, "Dequantize": 1}
    assert only(graph, Dense).bias is not None and len(only(graph, Dense).fused) == 3
    assert furthest(proto) == 0


def test_a_stored_bias_in_other_steps_means_what_it_says() -> None:
    net = Small(1, 3, 2, 2)
    stored = net.constant([100, -50], np.int32)
    bias = net.op("DequantizeLinear", stored, net.constant(0.005))  # the products are in steps of 0.0005
    conv = only(lower(net.proto(net.pair(net.op("Conv", net.pair("x"), net.weight(2, 3, 1, 1), bias))), "small"), Conv)
    assert conv.bias.tolist() == [1000, -500]


def test_scales_are_those_of_float32() -> None:
    net = Small(1, 3, 2, 2)
    y = net.op("Conv", net.pair("x", 0.0018), net.weight(2, 3, 1, 1, scale=[0.0037, 0.0409]))
    to = only(lower(net.proto(net.pair(y, 0.0457)), "small"), Conv).to
    f = np.float32
    assert isinstance(to, Requantize) and to.scale.dtype == f
    assert to.scale.tolist() == [float(f(f(f(0.0018) * f(w)) / f(0.0457))) for w in (0.0037, 0.0409)]
    assert to.scale[1] != f(float(f(0.0018)) * float(f(0.0409)) / float(f(0.0457)))  # rounded twice, not once


# --- layout ----------------------------------------------------------------------------------------------------------


def test_the_columns_of_a_matrix_follow_a_flattened_plane() -> None:
    net = Small(1, 3, 6, 6)
    y = net.pair(net.op("Relu", net.pair(net.op("Conv", net.pair("x"), net.weight(4, 3, 3, 3)))), 0.04)
    y = net.op("Gemm", net.pair(net.op("Flatten", y), 0.04), net.weight(5, 64, axis=0), transB=1)
    proto = net.proto(net.pair(y, 0.3))
    assert "Transpose" not in kinds(lower(proto, "small"))
    assert furthest(proto) == 0


def test_a_flattened_plane_that_is_an_output_is_turned() -> None:
    net = Small(1, 3, 6, 6)
    y = net.pair(net.op("Conv", net.pair("x"), net.weight(4, 3, 3, 3)))
    proto = net.proto(net.op("Flatten", y))
    assert kinds(lower(proto, "small"))["Transpose"] == 1
    assert furthest(proto) == 0


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.INT8])
def test_pictures_with_channels_last_stay_as_they_are(kind: int) -> None:
    net = Small("batch", 6, 6, 3, kind=kind)
    y = net.op("Transpose", "x", perm=[0, 3, 1, 2])
    y = net.pair(y) if kind == TensorProto.FLOAT else net.dequantize(y)
    y = net.pair(net.op("Conv", y, net.weight(4, 3, 3, 3)))
    proto = net.proto(net.op("Transpose", y, perm=[0, 2, 3, 1]))
    graph = lower(proto, "small")
    assert "Transpose" not in kinds(graph)
    assert graph.tensors["x"].axes == (0, 1, 2, 3) and graph.tensors[graph.outputs[0]].axes == (0, 1, 2, 3)
    assert furthest(proto) == 0


def test_pictures_with_channels_first_are_stored_with_channels_last() -> None:
    net = Small(1, 3, 6, 8)
    y = net.op("Conv", net.pair(net.op("Mul", "x", net.constant(0.5))), net.weight(4, 3, 3, 3))
    graph = lower(net.proto(net.pair(y)), "small")
    assert graph.tensors["x"].shape == (1, 6, 8, 3) and graph.tensors["x"].axes == (0, 2, 3, 1)
    assert graph.tensors[graph.outputs[0]].axes == (0, 2, 3, 1) and "Transpose" not in kinds(graph)


def test_constants_follow_the_order_of_what_they_are_added_to() -> None:
    net = Small(1, 3, 4, 5)
    y = net.pair(net.op("Conv", net.pair("x"), net.weight(4, 3, 1, 1)))
    y = net.pair(net.op("Add", y, net.weight(4, 1, 1)), 0.06)
    y = net.op("Mul", y, net.normal(1, 4, 4, 5))
    proto = net.proto(y)
    assert "Transpose" not in kinds(lower(proto, "small"))
    assert furthest(proto) <= FLOATS


def test_softmax_over_channels_needs_no_turn_and_over_rows_does() -> None:
    for axis, turns in ((1, 0), (2, 1)):
        net = Small(1, 3, 4, 5)
        y = net.pair(net.op("Conv", net.pair("x"), net.weight(4, 3, 1, 1)))
        proto = net.proto(net.pair(net.op("Softmax", y, axis=axis), 1 / 256, -128))
        graph = lower(proto, "small")
        assert kinds(graph).get("Transpose", 0) == turns and only(graph, Softmax)
        assert furthest(proto) == 0
