"""What is read of operators that take scales as inputs, of those that quantize floats themselves, and of grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from audit_tools import audited
from finished_tools import of_tensor, read_text, rules
from onnx import TensorProto, helper, numpy_helper

from qdsl.auditing.index import rule_named
from qdsl.diag import Severity
from qdsl.finished.reading import read
from qdsl.finished.records import Finished, Form, Role
from qdsl.graph import from_proto
from qdsl.spec import Granularity
from qdsl.spec.plan import Reader

QCONV = """
g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
<float s = {0.5}, uint8 z = {3}, int8[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] ws = {0.25, 0.5}, int8[2] wz = {0, 0},
 float t = {0.125}, uint8 v = {7}, int32[2] b = {1, 2}> {
  [enter] q = QuantizeLinear (x, s, z)
  [conv] c = QLinearConv (q, s, z, w, ws, wz, t, v, b)
  [pool] p = MaxPool <kernel_shape = [1, 1]> (c)
  [leave] y = DequantizeLinear (p, t, v)
}"""


def test_a_convolution_on_integers() -> None:
    found = read_text(QCONV)
    enters, written, weight, bias, leaves = found.tensors
    assert (enters.tensor, enters.form, enters.readers) == ("x", Form.LONE_QUANTIZE, (Reader("conv", 0),))
    assert (written.tensor, written.form, written.quantizers) == ("c", Form.OPERATOR, ("conv",))
    assert (written.between, written.readers) == (("pool",), (Reader("leave", 0),))
    assert written.parameters.scale == 0.125 and written.parameters.zero_point == 7
    assert (weight.tensor, weight.role, weight.stored) == ("w", Role.WEIGHT, "w")
    assert (weight.parameters.granularity, weight.parameters.axis) == (Granularity.PER_CHANNEL, 0)
    assert (bias.tensor, bias.role, bias.parameters.element) == ("b", Role.BIAS, "int32")
    assert np.array_equal(bias.parameters.scale, [0.125, 0.25]) and bias.parameters.axis == 0
    assert (leaves.tensor, leaves.form) == ("y", Form.LONE_DEQUANTIZE)
    assert not found.faults


def test_what_operators_hand_each_other_is_one_record_each() -> None:
    found = read_text("""
g (uint8[2, 2] x) => (uint8[2, 4] y) <float s = {0.5}, uint8 z = {3}, float t = {0.25}> {
  [add] a = com.microsoft.QLinearAdd (x, s, z, x, s, z, t, z)
  [mul] m = com.microsoft.QLinearMul (a, t, z, x, s, z, t, z)
  [join] y = com.microsoft.QLinearConcat <axis = 1> (s, z, a, t, z, m, t, z)
}""")
    readers = {(each.tensor, each.readers) for each in found.tensors}
    assert readers == {
        ("x", (Reader("add", 0),)),
        ("x", (Reader("add", 3),)),
        ("x", (Reader("mul", 3),)),
        ("a", (Reader("mul", 0), Reader("join", 2))),
        ("m", (Reader("join", 5),)),
        ("y", (Reader("", -1),)),
    }
    assert {each.form for each in found.tensors} == {Form.OPERATOR}


def test_a_gemm_on_integers() -> None:
    found = read_text("""
g (uint8[1, 2] x) => (float[1, 3] y)
<float s = {0.5}, uint8 z = {3}, int8[3, 2] w = {1, 2, 3, 4, 5, 6}, float[3] ws = {0.5, 1, 2}, int8[3] wz = {0, 0, 0},
 int32[3] b = {1, 2, 3}> {
  [gemm] y = com.microsoft.QGemm <transB = 1, alpha = 2.0> (x, s, z, w, ws, wz, b)
}""")
    enters, weight, bias = found.tensors
    assert (enters.tensor, enters.parameters.zero_point) == ("x", 3)
    assert weight.parameters.axis == 0 and np.array_equal(bias.parameters.scale, [0.5, 1, 2])


def test_dynamic_quantization_and_the_scale_of_its_weight() -> None:
    found = read_text("""
g (float[1, 2] x) => (float[1, 3] y)
<int8[2, 3] w = {1, 2, 3, 4, 5, 6}, int8[3] wz = {0, 0, 0}, float[3] ws = {0.5, 1, 2}> {
  [measure] q, s, z = DynamicQuantizeLinear (x)
  [matmul] i = MatMulInteger (q, w, z, wz)
  f = Cast <to = 1> (i)
  both = Mul (s, ws)
  y = Mul (f, both)
}""")
    activation, weight = found.tensors
    assert (activation.tensor, activation.form, activation.quantizers) == ("x", Form.DYNAMIC, ("measure",))
    assert activation.readers == (Reader("matmul", 0),) and activation.parameters.scale is None
    assert (weight.tensor, weight.form, weight.role) == ("w", Form.OPERATOR, Role.WEIGHT)
    assert np.array_equal(weight.parameters.scale, [0.5, 1, 2])
    assert (weight.parameters.granularity, weight.parameters.axis) == (Granularity.PER_CHANNEL, 1)


def test_a_dynamic_scale_that_another_quantizer_reads() -> None:
    found = read_text("""
g (float[1, 1, 2, 2] x) => (int32[1, 1, 2, 2] y) <uint8[1, 1, 1, 1] w = {1}, int8 z = {0}> {
  u, s, zu = DynamicQuantizeLinear (x)
  [signed] q = QuantizeLinear (x, s, z)
  [conv] y = ConvInteger (q, w, z)
}""")
    activation, weight = found.tensors
    assert (activation.form, activation.quantizers) == (Form.DYNAMIC, ("signed",))
    assert activation.parameters.element == "int8" and activation.parameters.scale is None
    assert weight.parameters.scale is None  # no Mul says it


def test_unknown_scales_are_equal_to_themselves_alone() -> None:
    found = read_text("""
g (uint8[1, 2] x) => (int32[1, 1] y, int32[1, 1] v) <int8[2, 1] w = {1, 2}> {
  y = MatMulInteger (x, w)
  v = MatMulInteger (x, w)
}""")
    assert len({each.parameters.key for each in found.tensors}) == len(found.tensors) == 4


def test_operators_that_quantize_floats_themselves() -> None:
    found = read_text("""
g (float[1, 2] x) => (float[1, 2] y)
<int8[2, 2] w = {1, 2, 3, 4}, float[2] ws = {0.5, 1}, int8[2] wz = {0, 0}> {
  [matmul] y = com.microsoft.DynamicQuantizeMatMul (x, w, ws, wz)
}""")
    activation, weight = found.tensors
    assert (activation.tensor, activation.form, activation.readers) == ("x", Form.DYNAMIC, (Reader("matmul", 0),))
    assert weight.parameters.axis == 1 and weight.form is Form.OPERATOR


def attention() -> Finished:
    return read_text(
        """
g (uint8[1, 2, 4] x) => (float[1, 2, 4] y)
<float s = {0.5}, uint8 z = {3}, int8[4, 12] w, float ws = {0.25}, int8 wz = {0}, float[12] b> {
  [attention] y = com.microsoft.QAttention <num_heads = 2> (x, w, b, s, ws, , z, wz)
}""".replace("int8[4, 12] w", f"int8[4, 12] w = {{{', '.join('1' * 48)}}}").replace(
            "float[12] b", f"float[12] b = {{{', '.join('0' * 12)}}}"
        )
    )


def test_attention_on_integers() -> None:
    enters, weight = attention().tensors
    assert (enters.tensor, enters.parameters.scale, enters.parameters.zero_point) == ("x", 0.5, 3)
    assert (weight.tensor, weight.parameters.scale) == ("w", 0.25)


# --- packed weights ---------------------------------------------------------------------------------------------------


def packed(node: onnx.NodeProto, inputs: dict[str, tuple[int, list[int]]], **constants: Any) -> Finished:
    node.name = "packed"
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return read(from_proto(helper.make_model(graph, opset_imports=domains, ir_version=10)))


def n_bits(blocks: int = 3, zeros: Any = None, scales: Any = None) -> Finished:
    """A weight of 2 rows and K = 40 in blocks of 16: three blocks, the last of 8."""
    inputs = ["x", "w", "s"] + ([] if zeros is None else ["z"])
    attrs = {"K": 40, "N": 2, "bits": 4, "block_size": 16}
    node = helper.make_node("MatMulNBits", inputs, ["y"], domain="com.microsoft", **attrs)
    scales = np.arange(1, 2 * blocks + 1, dtype="f4") if scales is None else scales
    more = {} if zeros is None else {"z": zeros}
    return packed(node, {"x": (TensorProto.FLOAT, [1, 40])}, w=np.zeros((2, 3, 8), "u1"), s=scales, **more)


def test_integers_without_a_zero_point_stand_around_the_middle() -> None:
    (weight,) = n_bits().tensors
    how = weight.parameters
    assert (weight.role, weight.form, weight.stored) == (Role.WEIGHT, Form.OPERATOR, "w")
    assert (how.element, how.zero_written, how.granularity) == ("int4", False, Granularity.PER_BLOCK)
    assert (how.axis, how.block) == (1, 16) and np.array_equal(how.scale, [[1, 2, 3], [4, 5, 6]])


def test_zero_points_two_to_a_byte() -> None:
    zeros = np.array([0x21, 0x03, 0x54, 0x06], "u1")
    (weight,) = n_bits(zeros=zeros).tensors
    assert weight.parameters.element == "uint4"
    assert np.array_equal(weight.parameters.zero_point, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("wrong", [{"scales": np.ones(5, "f4")}, {"zeros": np.zeros(3, "u1")}])
def test_blocks_that_do_not_match(wrong: dict[str, Any]) -> None:
    assert rules(n_bits(**wrong)) == ["block_count"]


@pytest.mark.parametrize("sizes", [{"N": 2**62, "K": 2**62, "block_size": 16}, {"N": -1, "K": 0, "block_size": 0}])
def test_sizes_that_cannot_be(sizes: dict[str, int]) -> None:
    node = helper.make_node("MatMulNBits", ["x", "w", "s", "z"], ["y"], domain="com.microsoft", bits=4, **sizes)
    found = packed(node, {"x": (1, [1, 4])}, w=np.zeros((2, 1, 8), "u1"), s=np.ones(2, "f4"), z=np.zeros(2, "u1"))
    assert len(found.tensors) == 1 and "block_count" in rules(found)


def test_rows_that_are_looked_up() -> None:
    node = helper.make_node(
        "GatherBlockQuantized", ["d", "x", "s"], ["y"], domain="com.microsoft", block_size=16, quantize_axis=-1
    )
    stored = TensorProto(name="d", data_type=TensorProto.UINT4, dims=[2, 32], raw_data=bytes(32))
    (weight,) = packed(node, {"x": (TensorProto.INT64, [1])}, d=stored, s=np.ones((2, 2), "f4")).tensors
    how = weight.parameters
    assert (how.element, how.axis, how.block, how.granularity) == ("uint4", 1, 16, Granularity.PER_BLOCK)


# --- grids ------------------------------------------------------------------------------------------------------------


def quant(op: str, values: dict[str, Any], domain: str = "qonnx.custom_op.general", **attrs: Any) -> Finished:
    nodes = [
        helper.make_node(op, ["x", *values], ["q"], name="quant", domain=domain, **attrs),
        helper.make_node("Relu", ["q"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in values.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    return read(from_proto(helper.make_model(graph, opset_imports=domains, ir_version=8)))


QUANTS = {
    "4 signed bits, narrow": ("Quant", {"s": 0.5, "z": 0, "b": 4}, {"signed": 1, "narrow": 1}, ("int4", -7, 7)),
    "8 unsigned bits": ("Quant", {"s": 0.5, "z": 0, "b": 8}, {"signed": 0}, ("uint8", None, None)),
    "3 bits in 4": ("Quant", {"s": 0.5, "z": 0, "b": 3}, {"signed": 1}, ("int4", -4, 3)),
    "two values": ("BipolarQuant", {"s": 0.5}, {}, ("int2", -1, 1)),
    "fewer bits": ("Trunc", {"s": 0.5, "z": 0, "i": 8, "o": 4}, {"signed": 0}, ("uint4", None, None)),
    "floats of 8 bits": ("FloatQuant", {"s": 0.5, "e": 4, "m": 3, "t": 7}, {}, ("float8e4m3fn", None, None)),
}


@pytest.mark.parametrize("case", QUANTS)
def test_qonnx(case: str) -> None:
    op, values, attrs, wanted = QUANTS[case]
    (found,) = quant(op, values, **attrs).tensors
    how = found.parameters
    assert (how.element, how.low, how.high) == wanted
    assert (found.tensor, found.form, found.quantizers) == ("x", Form.FAKE, ("quant",))
    assert found.readers == (Reader("relu", 0),) and how.scale == 0.5


def test_channels_of_qonnx() -> None:
    (found,) = quant("Quant", {"s": [[[0.5], [0.25]]], "z": 0, "b": 8}, signed=1).tensors
    assert (found.parameters.granularity, found.parameters.axis) == (Granularity.PER_CHANNEL, 1)
    assert np.array_equal(found.parameters.scale, [0.5, 0.25])


@pytest.mark.parametrize("bits", [0, 1000, np.nan, 3.5])
def test_a_bit_width_that_cannot_be(bits: float) -> None:
    assert len(quant("Quant", {"s": 0.5, "z": 0, "b": bits}).tensors) == 1


def test_fake_quantize_of_openvino() -> None:
    values = {"a": -1.28, "b": 1.27, "c": -1.28, "d": 1.27}
    (found,) = quant("FakeQuantize", values, "org.openvinotoolkit", levels=256).tensors
    how = found.parameters
    assert (how.element, how.low, how.high, how.zero_point) == ("int8", None, None, 0)
    assert how.scale == pytest.approx(0.01)


ELSEWHERE = {
    "aimet": ("aimet.customop.cpu", "QcQuantizeOp", "unknown"),
    "quark": ("com.amd.quark", "MXQuantizeDequantize", "unknown"),
    "modelopt": ("trt", "TRT_FP4QDQ", "float4e2m1"),
}


@pytest.mark.parametrize("tool", ELSEWHERE)
def test_grids_whose_scales_are_not_in_the_file(tool: str) -> None:
    domain, op, element = ELSEWHERE[tool]
    found = quant(op, {}, domain)
    (grid,) = found.tensors
    assert (grid.form, grid.parameters.element, grid.parameters.scale) == (Form.FAKE, element, None)
    assert tool in [dialect.name for dialect in found.dialects]
    assert audited(found.model).finished.quantized


def test_blocks_that_tensorrt_finds_while_it_runs() -> None:
    nodes = [
        helper.make_node(
            "TRT_FP4DynamicQuantize", ["x", "g"], ["q", "b"], name="find", domain="trt", axis=-1, block_size=16
        ),
        helper.make_node("DequantizeLinear", ["b", "g"], ["s"], name="scales"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], name="values", axis=-1, block_size=16),
        helper.make_node("MatMul", ["d", "d"], ["y"], name="matmul"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.float32(0.5), "g")],
    )
    domains = [helper.make_opsetid("", 23), helper.make_opsetid("trt", 1)]
    found = read(from_proto(helper.make_model(graph, opset_imports=domains, ir_version=11)))
    record = of_tensor(found, "x")
    assert (record.form, record.quantizers, record.dequantizers) == (Form.DYNAMIC, ("find",), ("values",))
    assert (record.parameters.element, record.parameters.block, record.parameters.axis) == ("float4e2m1", 16, 1)
    assert record.readers == (Reader("matmul", 0), Reader("matmul", 1))


def test_pact() -> None:
    found = read_text("""
g (float[2] x) => (float[2] y)
<float zero = {0}, float alpha = {6}, float forth = {2.5}> {
  c = Clip (x, zero, alpha)
  m = Mul (c, forth)
  [round] r = Round (m)
  d = Div (r, forth)
  [relu] y = Relu (d)
}""")
    (grid,) = found.tensors
    how = grid.parameters
    assert (grid.tensor, grid.form, grid.quantizers) == ("c", Form.FAKE, ("round",))
    assert grid.readers == (Reader("relu", 0),)
    assert how.scale == pytest.approx(0.4) and (how.element, how.low, how.high) == ("uint4", None, None)
    assert "pact" in [dialect.name for dialect in found.dialects]


def test_rounding_alone_is_no_grid() -> None:
    found = read_text("""
g (float[2] x) => (float[2] y) <float a = {2}, float b = {3}> {
  m = Mul (x, a)
  r = Round (m)
  y = Div (r, b)
}""")
    assert not found.quantized and not found.dialects


def test_bodies_are_said_to_be_unread() -> None:
    found = read_text("""
g (bool c, float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}> {
  [choose] y = If (c) <
    then_branch = t () => (float[2] a) { q = QuantizeLinear (x, s, z) a = DequantizeLinear (q, s, z) },
    else_branch = e () => (float[2] b) { b = Identity (x) }
  >
}""")
    assert not found.tensors
    (fault,) = found.faults
    assert (fault.rule, fault.node) == ("unread_body", "choose")
    (finding,) = rule_named("unread_body").check(audited(found.model))
    assert finding.severity is Severity.NOTE
    assert finding.message.startswith(
        "`choose` has 2 nodes in its bodies that quantize or dequantize, the first a Quant"
    )


def test_a_gather_of_a_stored_table() -> None:
    found = read_text("""
g (int64[1] x) => (float[1, 2] y) <int8[2, 2] w = {1, 2, 3, 4}, float s = {0.5}> {
  wd = DequantizeLinear (w, s)
  y = Gather (wd, x)
}""")
    assert of_tensor(found, "wd").role is Role.WEIGHT
