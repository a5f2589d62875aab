"""What only moves, and what a graph begins and ends with, as an integer graph: it answers as the runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from integer_models import fused, interpreted
from integer_random import some_feeds
from lower_nets import Small, furthest, kinds, only
from onnx import TensorProto

from qdsl.integer.lower import lower
from qdsl.integer.records import AveragePool, Encoding

FLOATS = 1e-6


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
    stored = net.constant(net.draw.integers(-63, 64, (4, 3, 3, 3)), np.int8)  # whose sums saturate on no CPU
    weight = net.op("DequantizeLinear", stored, net.constant(0.002), net.constant(0, np.int8))
    y = net.quantize(net.op("Conv", y, weight), 0.02, 121, np.uint8)
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
