"""One construct each as an integer graph: which operators it becomes, and that these answer as the runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from integer_models import fused, interpreted
from integer_random import some_feeds, unfused
from lower_nets import Small, furthest, kinds
from onnx import TensorProto

from qdsl.integer.lower import lower
from qdsl.integer.records import AveragePool, Conv, Dense, Encoding, Op, Requantize, Softmax, Table

FLOATS = 1e-6


def only(small_or_graph: Any, kind: type[Op]) -> Any:
    """The one operator of a kind."""
    (found,) = (op for op in small_or_graph.ops if isinstance(op, kind))
    return found


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


# --- moves -----------------------------------------------------------------------------------------------------------


def test_what_only_moves_keeps_integers() -> None:
    net = Small(1, 8, 4, 4)
    x = net.pair("x", 0.03, 3)
    y = net.op("Slice", x, *(net.constant(v, np.int64) for v in ([1, -3], [9, 4], [1, 3], [2, 2])))
    y = net.op("Transpose", net.op("Unsqueeze", y, net.constant([1], np.int64)), perm=[0, 1, 4, 2, 3])
    y = net.op("Gather", net.op("Squeeze", y, net.constant([1], np.int64)), net.constant(1, np.int64), axis=1)
    proto = net.proto(net.pair(y, 0.03, 3))
    assert set(kinds(lower(proto, "small"))) <= {"Quantize", "Slice", "Reshape", "Transpose", "Dequantize"}
    assert furthest(proto) == 0


@pytest.mark.parametrize("axis", [1, 3])
def test_splits_and_joins_give_back_what_was(axis: int) -> None:
    net = Small(1, 4, 4, 6)
    x = net.pair(net.op("Conv", net.pair("x"), net.weight(4, 4, 1, 1)), 0.03, 3)
    first = (
        net.op("Split", x, net.constant([1, 1, 2], np.int64), outputs=3, axis=axis)
        if axis == 1
        else net.op("Split", x, net.constant([1, 2, 3], np.int64), outputs=3, axis=axis)
    )
    proto = net.proto(net.pair(net.op("Concat", f"{first}_2", first, f"{first}_1", axis=axis), 0.03, 3))
    assert kinds(lower(proto, "small")) == {"Quantize": 1, "Conv": 1, "Slice": 3, "Concat": 1, "Dequantize": 1}
    assert furthest(proto) == 0


@pytest.mark.parametrize("way", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_nearest_resizes_copy_what_the_runtime_copies(way: str, rounding: str) -> None:
    for scales in ([1, 1, 2, 3], [1, 1, 1.5, 0.6], [1, 1, 0.5, 1.75]):
        net = Small(1, 2, 5, 5)
        attributes = {"coordinate_transformation_mode": way, "nearest_mode": rounding}
        y = net.op("Resize", net.pair("x", 0.03), "", net.constant(scales), mode="nearest", **attributes)
        assert furthest(net.proto(net.pair(y, 0.03)), [0]) == 0, scales


@pytest.mark.parametrize(
    "how",
    [
        {"pads": [1, 0, 0, 1]},
        {"pads": [1, 0, 1, 0], "ceil_mode": 1},
        {"dilations": [2, 1]},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
    ],
)
def test_maxima_over_windows(how: dict[str, Any]) -> None:
    net = Small(1, 3, 7, 8)
    y = net.op("MaxPool", net.pair("x"), kernel_shape=[4, 3], strides=[2, 3], **how)
    assert furthest(net.proto(net.pair(y))) == 0


def test_what_has_a_length_alone_is_a_plane_of_one_row() -> None:
    net = Small(1, 3, 20)
    pads = net.constant([0, 0, 2, 0, 0, 1], np.int64)
    y = net.op("Conv", net.op("Pad", net.pair("x", zero=4), pads), net.weight(6, 3, 5), strides=[2], pads=[1, 0])
    y = net.op("MaxPool", net.pair(net.op("Relu", y), 0.05, -128), kernel_shape=[3], pads=[1, 1])
    y = net.pair(net.op("Conv", y, net.weight(6, 1, 3), group=6, dilations=[2]), 0.02)
    flat = net.op("Gemm", net.pair(net.op("Flatten", y), 0.02), net.weight(36, 4, axis=1))
    mean = net.pair(net.op("GlobalAveragePool", y), 0.01)
    proto = net.proto(flat, mean, y)
    assert "Transpose" not in kinds(lower(net.proto(flat), "small"))
    assert furthest(proto) == 0


@pytest.mark.parametrize(
    ("shape", "axes", "keepdims"),
    [((1, 4, 5, 6), [2, 3], 1), ((1, 4, 5, 6), [-1, -2], 0), ((1, 5, 6, 4), [1, 2], 0), ((1, 7, 4), [1], 1)],
)
def test_means_over_all_but_one_axis(shape: tuple[int, ...], axes: list[int], keepdims: int) -> None:
    net = Small(*shape)
    proto = net.proto(net.pair(net.op("ReduceMean", net.pair("x"), axes=axes, keepdims=keepdims), 0.02, 3))
    graph = lower(proto, "small")
    assert only(graph, AveragePool).window is None and "Dequantize" not in {type(op).__name__ for op in graph.ops[:-1]}
    feeds = some_feeds(proto, 0)
    got, want = (next(iter(each.values())) for each in (interpreted(graph, feeds), fused(proto, feeds)))
    assert np.abs(got - want).max() <= 0.0201  # the runtime takes these means in floats: a tie may be a step away
    floats = Small(*shape)
    assert furthest(floats.proto(floats.op("ReduceMean", "x", axes=axes, keepdims=keepdims))) <= FLOATS


@pytest.mark.parametrize(("op", "how"), [("DepthToSpace", {}), ("DepthToSpace", {"mode": "CRD"}), ("SpaceToDepth", {})])
def test_blocks_of_pixels_as_channels_and_back(op: str, how: dict[str, str]) -> None:
    net = Small(1, 8, 4, 6)
    y = net.pair(net.op("Conv", net.pair("x"), net.weight(8, 8, 1, 1)))
    proto = net.proto(net.pair(net.op(op, y, blocksize=2, **how)))
    assert kinds(lower(proto, "small"))["Transpose"] == 1
    assert furthest(proto) == 0


# --- ends ------------------------------------------------------------------------------------------------------------


def test_integers_at_the_ends() -> None:
    net = Small(1, 3, 6, 6)
    y = net.pair(net.op("Conv", net.pair("x", 0.05, 3), net.weight(4, 3, 3, 3)), 0.2, -7)
    proto = net.proto(y)
    graph = lower(proto, "small", "int8")
    assert kinds(graph) == {"Conv": 1}
    assert graph.tensors["x"].encoding == Encoding(float(np.float32(0.05)), 3)
    assert graph.outputs == (y,) and graph.tensors[y].dtype == "int8" and graph.tensors[y].encoding is not None
    codes = some_feeds(Small(1, 3, 6, 6, kind=TensorProto.INT8).proto("x"), 0)
    floats = {"x": ((codes["x"] - np.float32(3)) * np.float32(0.05)).astype(np.float32)}
    steps = (interpreted(graph, codes)[y] - np.float32(-7)) * np.float32(0.2)
    assert np.array_equal(steps.astype(np.float32), fused(proto, floats)[y])


def test_an_output_that_is_left_in_floats_stays_so_beside_integers() -> None:
    """As where the last layer writes its sums as floats."""
    net = Small(1, 3, 6, 6)
    y = net.op("Conv", net.pair("x", 0.05, 3), net.weight(4, 3, 3, 3))
    proto = net.proto(y)
    graph = lower(proto, "small", "int8")
    assert (graph.tensors["x"].dtype, graph.tensors[y].dtype) == ("int8", "float32") and kinds(graph) == {"Conv": 1}
    codes = some_feeds(Small(1, 3, 6, 6, kind=TensorProto.INT8).proto("x"), 0)
    floats = {"x": ((codes["x"] - np.float32(3)) * np.float32(0.05)).astype(np.float32)}
    want = fused(proto, floats)[y]
    assert np.abs(interpreted(graph, codes)[y] - want).max() <= 1e-6 * np.abs(want).max()


def test_integers_at_the_ends_of_what_is_moved_there() -> None:
    net = Small(1, 6, 6, 3)
    y = net.pair(net.op("Transpose", "x", perm=[0, 3, 1, 2]), 0.05, 3)
    y = net.op("Flatten", net.pair(net.op("Conv", y, net.weight(4, 3, 6, 6)), 0.2, -7))
    graph = lower(net.proto(y), "small", "int8")
    assert graph.tensors["x"].encoding == Encoding(float(np.float32(0.05)), 3)
    assert kinds(graph) == {"Conv": 1, "Reshape": 1}
    assert graph.tensors[y].shape == (1, 4)


def test_unsigned_integers_are_signed_here() -> None:
    net = Small(1, 6, 6, 3, kind=TensorProto.UINT8)
    y = net.dequantize(net.op("Transpose", "x", perm=[0, 3, 1, 2]), 0.05, 131, np.uint8)
    y = net.quantize(net.op("Conv", y, net.weight(4, 3, 3, 3, scale=0.001)), 0.02, 121, np.uint8)
    proto = net.proto(y, kind=TensorProto.UINT8)
    graph = lower(proto, "small")
    assert (graph.tensors["x"].dtype, graph.tensors["x"].encoding) == ("int8", Encoding(float(np.float32(0.05)), 3))
    feeds = some_feeds(proto, 0)
    assert np.array_equal(interpreted(graph, feeds)[y].astype(np.int16) + 128, fused(proto, feeds)[y])


def test_what_nobody_reads_is_left_out_and_bytes_take_one_name() -> None:
    net = Small(1, 4, 6)
    net.pair(net.op("Relu", "x"), 0.3)
    y = net.op("Reshape", net.op("Reshape", "x", net.constant([1, 24], np.int64)), net.constant([1, 2, 12], np.int64))
    graph = lower(net.proto(net.op("Sqrt", net.op("Abs", y))), "small")
    assert kinds(graph) == {"Reshape": 1, "Unary": 2} and set(graph.constants) == set()
    assert set(graph.tensors) == {"x", *(op.output for op in graph.ops)}


def test_an_output_that_is_an_input_and_one_that_is_there_twice_are_copied() -> None:
    net = Small(1, 5)
    proto = net.proto(net.op("Identity", "x"), net.op("Reshape", "x", net.constant([1, 5], np.int64)))
    graph = lower(proto, "small")
    assert kinds(graph) == {"Reshape": 2} and len(set(graph.outputs)) == 2
    assert furthest(proto) == 0
