"""What is read of QuantizeLinear and DequantizeLinear, in every form in which they stand in files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finished_tools import read_text, rules
from onnx import helper, numpy_helper

from qdsl.finished.reading import read
from qdsl.finished.records import Finished, Form, Role
from qdsl.graph import from_proto
from qdsl.spec import Granularity
from qdsl.spec.plan import Reader


def test_a_pair_on_an_activation() -> None:
    found = read_text("""
g (float[2, 3] x) => (float[2, 3] y, float[2, 3] d) <float s = {0.5}, uint8 z = {3}> {
  [quantize] q = QuantizeLinear (x, s, z)
  [dequantize] d = DequantizeLinear (q, s, z)
  [relu] y = Relu (d)
}""")
    (pair,) = found.tensors
    assert (pair.tensor, pair.role, pair.form) == ("x", Role.ACTIVATION, Form.PAIR)
    assert (pair.quantizers, pair.dequantizers, pair.between) == (("quantize",), ("dequantize",), ())
    assert pair.readers == (Reader("relu", 0), Reader("", -1))
    how = pair.parameters
    assert (how.element, how.scale_element, how.granularity) == ("uint8", "float32", Granularity.PER_TENSOR)
    assert how.scale == 0.5 and how.zero_point == 3 and how.zero_written
    assert (how.axis, how.block, how.low, how.high) == (None, None, None, None)
    assert not found.faults


def test_equal_by_value_whatever_the_names() -> None:
    found = read_text("""
g (float[2] x, float[2] v) => (float[2] y, float[2] w)
<float s = {0.5}, float[1] t = {0.5}, int8 z = {0}, int8[1] zz = {0}, float u = {0.25}> {
  q = QuantizeLinear (x, s, z)
  y = DequantizeLinear (q, t, zz)
  p = QuantizeLinear (v, u, z)
  w = DequantizeLinear (p, u, z)
}""")
    x, v = found.tensors
    assert x.form is v.form is Form.PAIR  # `s` and `t`, `z` and `zz` are the same
    assert x.parameters.key != v.parameters.key  # a zero point that is shared means nothing


def test_channels_that_are_all_alike_mean_what_one_scale_means() -> None:
    found = read_text("""
g (float[1, 2] x) => (float[1, 2] y, float[1, 2] w)
<float s = {0.5}, uint8 z = {3}, float[2] t = {0.5, 0.5}, uint8[2] v = {3, 3}, float[2] u = {0.5, 0.25}> {
  q = QuantizeLinear (x, s, z)
  [alike] y = DequantizeLinear <axis = 1> (q, t, v)
  [other] w = DequantizeLinear <axis = 1> (q, u, v)
}""")
    pair, other = found.tensors
    assert (pair.form, pair.dequantizers) == (Form.PAIR, ("alike",))
    assert pair.parameters.granularity is Granularity.PER_TENSOR
    assert (other.form, other.dequantizers) == (Form.LONE_DEQUANTIZE, ("other",))


def test_a_missing_zero_point_is_zero() -> None:
    found = read_text("""
g (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}> {
  q = QuantizeLinear (x, s)
  y = DequantizeLinear (q, s, z)
}""")
    (pair,) = found.tensors
    assert pair.form is Form.PAIR and pair.parameters.element == "uint8"
    assert not pair.parameters.zero_written and pair.parameters.zero_point is None


def test_a_dequantizer_that_means_something_else_is_alone() -> None:
    found = read_text("""
g (float[2] x) => (float[2] y) <float s = {0.5}, float t = {0.25}, uint8 z = {0}> {
  q = QuantizeLinear (x, s, z)
  [other] y = DequantizeLinear (q, t, z)
}""")
    assert [each.form for each in found.tensors] == [Form.LONE_QUANTIZE, Form.LONE_DEQUANTIZE]
    assert found.tensors[0].readers == (Reader("other", 0),)


def test_one_quantizer_with_several_dequantizers() -> None:
    found = read_text("""
g (float[2] x) => (float[2] y, float[2] w) <float s = {0.5}, uint8 z = {0}> {
  q = QuantizeLinear (x, s, z)
  [one] a = DequantizeLinear (q, s, z)
  [two] b = DequantizeLinear (q, s, z)
  [left] y = Relu (a)
  [right] w = Neg (b)
}""")
    (pair,) = found.tensors
    assert pair.dequantizers == ("one", "two")
    assert pair.readers == (Reader("left", 0), Reader("right", 0))


def test_several_quantizers_of_one_tensor_are_several_records() -> None:
    found = read_text("""
g (float[2] x) => (float[2] y, float[2] w) <float s = {0.5}, float t = {0.25}, uint8 z = {0}> {
  q = QuantizeLinear (x, s, z)
  y = DequantizeLinear (q, s, z)
  p = QuantizeLinear (x, t, z)
  w = DequantizeLinear (p, t, z)
}""")
    assert [(each.tensor, each.parameters.scale) for each in found.tensors] == [("x", 0.5), ("x", 0.25)]


def test_channels_and_an_axis_from_the_end() -> None:
    found = read_text("""
g (float[2, 3, 4] x) => (float[2, 3, 4] y) <float[3] s = {1, 2, 3}, int8[3] z = {0, 0, 0}> {
  q = QuantizeLinear <axis = -2> (x, s, z)
  y = DequantizeLinear <axis = 1> (q, s, z)
}""")
    (pair,) = found.tensors
    assert pair.form is Form.PAIR
    assert (pair.parameters.granularity, pair.parameters.axis) == (Granularity.PER_CHANNEL, 1)


def test_an_axis_from_the_end_of_an_unknown_rank_is_said_to_be_unknown() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=-1),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=-1),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.float32([1, 2]), "s"), numpy_helper.from_array(np.int8([0, 0]), "z")],
    )
    found = read(from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)))
    (pair,) = found.tensors
    assert pair.form is Form.PAIR and pair.parameters.granularity is Granularity.PER_CHANNEL
    assert pair.parameters.axis is None and rules(found) == ["axis_unknown"]


def test_blocks() -> None:
    found = read_text("""
g (float[2, 4] x) => (float[2, 4] y) <float[2, 2] s = {1, 2, 3, 4}, int8[2, 2] z = {0, 0, 0, 0}> {
  q = QuantizeLinear <axis = 1, block_size = 2> (x, s, z)
  y = DequantizeLinear <axis = -1, block_size = 2> (q, s, z)
}""")
    (pair,) = found.tensors
    how = pair.parameters
    assert (how.granularity, how.axis, how.block) == (Granularity.PER_BLOCK, 1, 2)
    assert how.scale is not None and how.scale.shape == (2, 2) and not found.faults


def test_a_stored_weight_and_a_stored_bias() -> None:
    found = read_text("""
g (float[1, 2, 4, 4] x) => (float[1, 1, 4, 4] y)
<int8[1, 2, 1, 1] w = {1, 2}, float[1] s = {0.5}, int32[1] b = {7}, float t = {0.25}> {
  [weight] wd = DequantizeLinear <axis = 0> (w, s)
  [bias] bd = DequantizeLinear (b, t)
  [conv] y = Conv (x, wd, bd)
}""")
    weight, bias = found.tensors
    assert (weight.tensor, weight.role, weight.form, weight.stored) == ("wd", Role.WEIGHT, Form.STORED, "w")
    assert (bias.tensor, bias.role, bias.form, bias.stored) == ("bd", Role.BIAS, Form.STORED, "b")
    assert (weight.readers, bias.readers) == ((Reader("conv", 1),), (Reader("conv", 2),))
    assert (weight.parameters.element, bias.parameters.element) == ("int8", "int32")


def test_a_float_weight_in_a_pair() -> None:
    found = read_text("""
g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 2, 3, 4}, float s = {0.5}, int8 z = {0}> {
  q = QuantizeLinear (w, s, z)
  wd = DequantizeLinear (q, s, z)
  [matmul] y = MatMul (x, wd)
}""")
    (weight,) = found.tensors
    assert (weight.tensor, weight.stored) == ("w", "w")
    assert (weight.role, weight.form) == (Role.WEIGHT, Form.FLOAT_PAIR)


def test_a_weight_behind_movers() -> None:
    found = read_text("""
g (float[1, 3] x) => (float[1, 2] y) <int8[6] w = {1, 2, 3, 4, 5, 6}, float s = {0.5}, int64[2] shape = {2, 3}> {
  wd = DequantizeLinear (w, s)
  [reshape] r = Reshape (wd, shape)
  t = Transpose <perm = [1, 0]> (r)
  y = MatMul (x, t)
}""")
    (weight,) = found.tensors
    assert (weight.role, weight.form, weight.stored) == (Role.WEIGHT, Form.STORED, "w")
    assert weight.readers == (Reader("reshape", 0),)


def test_a_bias_of_int8_behind_a_reshape_is_a_bias() -> None:
    found = read_text("""
g (float[1, 2] x) => (float[1, 2] y)
<float[2, 2] w = {1, 2, 3, 4}, int8[2, 1] b = {1, 2}, float s = {0.5}, int64[1] shape = {2}> {
  bd = DequantizeLinear (b, s)
  r = Reshape (bd, shape)
  y = Gemm (x, w, r)
}""")
    (bias,) = found.tensors
    assert bias.role is Role.BIAS and bias.parameters.element == "int8"


def test_a_weight_and_its_scale_in_constant_nodes() -> None:
    found = read_text("""
g (float[1, 2] x) => (float[1, 2] y) {
  w = Constant <value = int8[2, 2] {1, 2, 3, 4}> ()
  s = Constant <value_float = 0.5> ()
  z = Constant <value = int8 {0}> ()
  i = Identity (w)
  half = Cast <to = 10> (s)
  whole = Cast <to = 1> (half)
  wd = DequantizeLinear (i, whole, z)
  y = MatMul (x, wd)
}""")
    (weight,) = found.tensors
    assert (weight.form, weight.stored, weight.parameters.element) == (Form.STORED, "w", "int8")
    assert weight.parameters.scale == 0.5 and weight.parameters.zero_point == 0


def test_float16_scales() -> None:
    found = read_text("""
g (float16[2] x) => (float16[2] y) <float16 s = {14336}, int8 z = {0}> {
  q = QuantizeLinear (x, s, z)
  y = DequantizeLinear (q, s, z)
}""")
    (pair,) = found.tensors
    assert pair.form is Form.PAIR and pair.parameters.scale_element == "float16"
    assert pair.parameters.scale == 0.5


def test_pairs_of_com_microsoft() -> None:
    found = read_text(
        """
g (float[2] x) => (float[2] y) <float s = {0.5}, int16 z = {0}> {
  q = com.microsoft.QuantizeLinear (x, s, z)
  y = com.microsoft.DequantizeLinear (q, s, z)
}""",
        opset=17,
        ir=8,
    )
    (pair,) = found.tensors
    assert pair.form is Form.PAIR and pair.parameters.element == "int16"


def test_a_clip_between_narrows() -> None:
    found = read_text("""
g (float[2] x) => (float[2] y, float[2] w) <float s = {0.5}, int8 z = {0}, int8 low = {-8}, int8 high = {7}> {
  q = QuantizeLinear (x, s, z)
  [clip] c = Clip (q, low, high)
  y = DequantizeLinear (c, s, z)
  w = DequantizeLinear (q, s, z)
}""")
    narrow, whole = sorted(found.tensors, key=lambda each: each.parameters.low is None)
    assert (narrow.parameters.low, narrow.parameters.high) == (-8, 7)
    assert (whole.parameters.low, whole.parameters.high) == (None, None)
    assert (narrow.between, whole.between) == (("clip",), ())
    assert narrow.parameters.key != whole.parameters.key


def test_movers_between_and_the_axis_that_they_turn() -> None:
    found = read_text("""
g (float[1, 2, 3] x) => (float[3, 1, 2] y) <float[2] s = {1, 2}, int8[2] z = {0, 0}> {
  q = QuantizeLinear <axis = 1> (x, s, z)
  [turn] t = Transpose <perm = [2, 0, 1]> (q)
  y = DequantizeLinear <axis = 2> (t, s, z)
}""")
    (pair,) = found.tensors
    assert (pair.form, pair.between, pair.parameters.axis) == (Form.PAIR, ("turn",), 1)


def test_integers_that_enter_and_leave_the_graph() -> None:
    found = read_text("""
g (int8[1, 2, 3] x) => (int8[1, 2, 3] y) <float s = {0.5}, int8 z = {3}> {
  [in] t = Transpose <perm = [0, 2, 1]> (x)
  d = DequantizeLinear (t, s, z)
  r = Relu (d)
  q = QuantizeLinear (r, s, z)
  [out] y = Transpose <perm = [0, 2, 1]> (q)
}""")
    enters, leaves = found.tensors
    assert (enters.tensor, enters.form, enters.between) == ("d", Form.LONE_DEQUANTIZE, ("in",))
    assert (leaves.tensor, leaves.form, leaves.between) == ("r", Form.LONE_QUANTIZE, ("out",))
    assert leaves.readers == (Reader("", -1),)


def test_a_computed_scale_is_equal_to_itself_alone() -> None:
    found = read_text("""
g (float[2] x, float s, float t) => (float[2] y, float[2] w) <uint8 z = {0}> {
  q = QuantizeLinear (x, s, z)
  y = DequantizeLinear (q, s, z)
  w = DequantizeLinear (q, t, z)
}""")
    pair, alone = found.tensors
    assert (pair.form, alone.form) == (Form.PAIR, Form.LONE_DEQUANTIZE)
    assert pair.parameters.scale is None


def faulty(axis: int, block: int, scale: np.ndarray, zero: np.ndarray) -> Finished:  # type: ignore[type-arg]
    """An int8 weight [4, 6] with that scale and zero point."""
    attributes = {"axis": axis, **({"block_size": block} if block else {})}
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"], name="dq", **attributes),
            helper.make_node("MatMul", ["x", "wd"], ["y"], name="matmul"),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 6])],
        [
            numpy_helper.from_array(np.zeros((4, 6), np.int8), "w"),
            numpy_helper.from_array(scale, "s"),
            numpy_helper.from_array(zero, "z"),
        ],
    )
    return read(from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)))


ONES, ZEROS = np.ones, np.zeros
FAULTS = {
    "channels": (1, 0, ONES(6, "f4"), ZEROS(6, "i1"), []),
    "blocks": (0, 2, ONES((2, 6), "f4"), ZEROS((2, 6), "i1"), []),
    "a last block that is shorter": (1, 4, ONES((4, 2), "f4"), ZEROS((4, 2), "i1"), []),
    "one number of rank 1": (1, 0, ONES(1, "f4"), ZEROS((), "i1"), []),
    "too few scales": (1, 0, ONES(5, "f4"), ZEROS(5, "i1"), ["scale_length"]),
    "a matrix of scales without blocks": (1, 0, ONES((4, 6), "f4"), ZEROS((4, 6), "i1"), ["scale_length"]),
    "an axis past the rank": (2, 0, ONES(6, "f4"), ZEROS(6, "i1"), ["axis_out_of_range"]),
    "an axis before the first": (-3, 0, ONES(6, "f4"), ZEROS(6, "i1"), ["axis_out_of_range"]),
    "too many blocks": (0, 2, ONES((3, 6), "f4"), ZEROS((3, 6), "i1"), ["block_count"]),
    "blocks of another tensor": (0, 2, ONES((2, 5), "f4"), ZEROS((2, 5), "i1"), ["block_count"]),
    "blocks with one scale": (0, 2, ONES((), "f4"), ZEROS((), "i1"), ["block_count"]),
    "one zero point for channels": (1, 0, ONES(6, "f4"), ZEROS((), "i1"), ["zero_point_shape"]),
    "another type": (1, 0, ONES(6, "f4"), ZEROS(6, "u1"), ["zero_point_type"]),
    "a scale of 0": (1, 0, np.array([1, 0, 1, 1, 1, 1], "f4"), ZEROS(6, "i1"), ["scale_not_positive"]),
    "a negative scale": (1, 0, np.float32(-1), ZEROS((), "i1"), ["scale_not_positive"]),
    "a scale of nan": (1, 0, np.float32(np.nan), ZEROS((), "i1"), ["scale_not_positive"]),
    "an infinite scale": (1, 0, np.float32(np.inf), ZEROS((), "i1"), ["scale_not_positive"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_hold(case: str) -> None:
    axis, block, scale, zero, wanted = FAULTS[case]
    found = faulty(axis, block, np.asarray(scale), np.asarray(zero))
    assert rules(found) == wanted
    assert all(fault.node == "dq" and fault.tensor == "wd" for fault in found.faults)
    assert len(found.tensors) == 1
