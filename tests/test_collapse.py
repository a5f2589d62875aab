"""A finished file as a float graph with edges: what is left of it, and what its Q and DQ become."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from qdsl.finished.collapse import collapse
from qdsl.finished.collapsed import Collapsed
from qdsl.finished.records import Finished, Form, Parameters, QuantizedTensor, Role
from qdsl.graph import from_proto
from qdsl.graph.folded import folded
from qdsl.graph.view import Use
from qdsl.spec import Granularity


def finished(text: str, opset: int = 17, **constants: Any) -> Finished:
    """The file, with a record for each Q and DQ: their scale and zero point as the graph has them."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]> g {text}')
    for name, value in constants.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    model = from_proto(proto)
    view = model.view()
    records = []
    for node in view.nodes:
        if node.op not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = folded(model, node.inputs[1])
        zero = folded(model, node.inputs[2]) if len(node.inputs) > 2 else None
        many = scale is not None and scale.size > 1
        key = f"{None if scale is None else scale.tolist()} {None if zero is None else (zero.dtype, zero.tolist())}"
        given = Parameters(
            "uint8" if zero is None else str(zero.dtype),
            "float32",
            Granularity.PER_CHANNEL if many else Granularity.PER_TENSOR,
            scale,
            zero,
            zero is not None,
            key,
            axis=0 if many else None,
        )
        q = node.op == "QuantizeLinear"
        names = {"quantizers" if q else "dequantizers": (node.name,)}
        tensor = node.inputs[0] if q else node.outputs[0]
        records.append(QuantizedTensor(tensor, Role.ACTIVATION, Form.PAIR, given, **names))
    return Finished(model, view, tuple(records))


def collapsed(text: str, opset: int = 17, **constants: Any) -> Collapsed:
    return collapse(finished(text, opset, **constants))


SCALES: dict[str, Any] = {"s": np.float32(0.5), "z": np.uint8(3), "t": np.float32(0.25), "low": np.uint8(0)}
CONV = """(float[1,4,8,8] x) => (float y) {
  [q] q = QuantizeLinear (x, s, z) [dq] d = DequantizeLinear (q, s, z)
  [wd] v = DequantizeLinear <axis = 0> (w, ws, wz)
  [conv] c = Conv (d, v) [relu] r = Relu (c)
  [q2] p = QuantizeLinear (r, t, low) [dq2] y = DequantizeLinear (p, t, low) }"""
WEIGHT: dict[str, Any] = {
    "w": np.ones((4, 4, 1, 1), np.int8),
    "ws": np.full(4, 0.1, np.float32),
    "wz": np.zeros(4, np.int8),
}


def test_what_is_left_is_the_float_graph() -> None:
    found = collapsed(CONV, **SCALES, **WEIGHT)
    view = found.view
    assert [node.name for node in view.nodes] == ["conv", "relu"]
    assert [node.index for node in view.nodes] == [0, 1]
    assert view.nodes[0].inputs == ("x", "v")
    assert view.outputs == ("r",)
    assert view.tensors["r"].is_output
    assert view.tensors["v"].kind == "constant"
    assert view.tensors["v"].shape == (4, 4, 1, 1)
    assert view.tensors["x"].uses == (Use(0, 0),)
    assert found.known == {}


def test_edges_say_what_the_pairs_said() -> None:
    edges = collapsed(CONV, **SCALES, **WEIGHT).edges
    data, weight = edges.reads[Use(0, 0)], edges.reads[Use(0, 1)]
    assert (data.dtype.name, data.step, data.reach, data.lowest_zero) == ("uint8", 0.5, (-1.5, 126.0), False)
    assert (weight.dtype.name, weight.granularity, weight.axis) == ("int8", Granularity.PER_CHANNEL, 0)
    assert edges.written["x"].only_quant == data
    assert edges.written["c"].only_float == Use(1, 0)
    (written,) = edges.written["r"].quants
    assert written.lowest_zero
    assert written.reach == (0.0, 63.75)
    assert not edges.written["r"].graph_output
    assert "v" not in edges.written


def test_a_float_weight_in_a_pair_is_read_in_integers() -> None:
    found = collapsed(
        """(float[1,4] x) => (float y) { [k] k = Identity (w) [q] q = QuantizeLinear (k, s, z)
        [dq] d = DequantizeLinear (q, s, z) [mm] y = MatMul (x, d) }""",
        w=np.ones((4, 2), np.float32),
        **SCALES,
    )
    assert found.view.is_constant(found.view.nodes[0].inputs[1])
    assert found.edges.reads[Use(0, 1)].dtype.name == "uint8"
    assert found.known["k"].runs == "absorbed"


def test_integers_that_others_have_keep_their_type() -> None:
    found = collapsed(
        """(int8[4] x) => (float y, int8[4] i) { [dq] d = DequantizeLinear (x, s, z) [neg] n = Neg (d)
        [q] i = QuantizeLinear (n, s, z) [dq2] y = DequantizeLinear (i, s, z) }""",
        s=np.float32(0.5),
        z=np.int8(0),
    )
    assert found.edges.reads[Use(0, 0)].bare
    assert found.view.producer(found.view.nodes[0].inputs[0]) is None
    (quant,) = found.edges.written["n"].quants
    assert quant.bare


def test_a_zero_point_that_is_not_written_leaves_the_type() -> None:
    found = collapsed(
        "(float[4] x) => (float y) { [q] q = QuantizeLinear (x, s) [dq] y = DequantizeLinear (q, s) }", **SCALES
    )
    (quant,) = found.edges.written["x"].quants
    assert not quant.fixed
    assert (quant.dtype.name, quant.lowest_zero) == ("uint8", True)


def test_a_second_pair_stands_on_a_tensor_of_its_own() -> None:
    found = collapsed(
        """(float[4] x) => (float y) { [q] q = QuantizeLinear (x, s, z) [dq] d = DequantizeLinear (q, s, z)
        [q2] p = QuantizeLinear (d, t, z) [dq2] e = DequantizeLinear (p, t, z) [neg] y = Neg (e) }""",
        **SCALES,
    )
    read = found.edges.reads[Use(0, 0)]
    assert found.view.nodes[0].inputs == ("d",)
    assert read.step == 0.25
    assert found.edges.written["d"].only_quant == read
    assert found.edges.repeated["d"][0] == "x"
    assert len(found.edges.written["x"].quants[found.edges.repeated["d"][1]]) == 1


def test_what_loading_computes_is_a_constant() -> None:
    found = collapsed(
        """(float[2,6] x) => (float y) { [six] six = Constant <value_float = 6.0> () [low] low = Cast <to = 1> (i)
        [clip] c = Clip (x, low, six) [shape] s = Shape (x) [reshape] r = Reshape (c, s) [same] t = Identity (r)
        [neg] y = Neg (t) }""",
        i=np.int64(0),
    )
    view = found.view
    assert [node.name for node in view.nodes] == ["clip", "reshape", "neg"]
    assert set(found.known) == {"six", "low", "shape", "same"}
    assert view.small[view.nodes[0].inputs[1]] == (0.0,)
    assert view.small[view.nodes[0].inputs[2]] == (6.0,)
    assert view.nodes[2].inputs == ("r",)


def test_integer_operators_of_the_file_need_no_judging() -> None:
    found = collapsed(
        """(float[2,4] x) => (float y) { [measure] q, s, z = DynamicQuantizeLinear (x)
        [mm] i = MatMulInteger (q, w, z) [cast] f = Cast <to = 1> (i) [mul] y = Mul (f, s) }""",
        w=np.ones((4, 2), np.uint8),
    )
    assert [node.name for node in found.view.nodes] == ["measure", "mm", "cast", "mul"]
    assert (found.known["mm"].runs, found.known["mm"].kernel) == ("integer", "MatMulInteger")
