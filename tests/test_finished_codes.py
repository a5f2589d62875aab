"""The integers of stored tensors, however a file holds them, and what they can stand for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdsl.finished.codes import codes, scales, span, zeros
from qdsl.finished.reading import read
from qdsl.finished.records import Finished, QuantizedTensor, Role
from qdsl.graph import from_proto

WEIGHT = np.array([[1.0, -2.0, 0.5], [12.7, 0.26, -0.24]], np.float32)
STORED = np.array([[10, -20, 5], [127, 3, -2]], np.int8)


def product(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], *, opset: int = 21) -> Finished:
    """A MatMul of x by `wd`, which `nodes` make of `constants`."""
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "wd"], ["y"], name="matmul")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return read(from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)))


def weight(finished: Finished) -> QuantizedTensor:
    return next(each for each in finished.tensors if each.role is Role.WEIGHT)


def constant(name: str, value: object, kind: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, kind), name)


def test_stored_integers_are_read_as_they_are() -> None:
    made = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"])]
    found = product(made, [constant("w", STORED, np.int8), constant("s", 0.1), constant("z", 0, np.int8)])
    assert np.array_equal(codes(found, weight(found)), STORED)
    assert span(weight(found).parameters) == pytest.approx((-12.8, 12.7))


def test_a_float_weight_is_rounded_as_its_quantizer_rounds_it() -> None:
    made = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["wd"]),
    ]
    found = product(made, [constant("w", WEIGHT), constant("s", 0.1), constant("z", 0, np.int8)])
    assert np.array_equal(codes(found, weight(found)), STORED)


def test_what_stands_on_the_integers_is_carried_out() -> None:
    made = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("DequantizeLinear", ["t", "s", "z"], ["wd"], axis=1),
    ]
    found = product(
        made, [constant("w", STORED, np.int8), constant("s", [0.1, 0.2]), constant("z", [0, 1], np.int8)], opset=17
    )
    read_as = codes(found, weight(found))
    assert read_as is not None and np.array_equal(read_as, STORED.T)
    step, zero = (of(weight(found).parameters, read_as.shape) for of in (scales, zeros))
    assert np.array_equal(step, np.array([[0.1, 0.2]], np.float32)) and np.array_equal(zero, [[0, 1]])
    assert span(weight(found).parameters) is None, "two scales have no one span"


def test_four_bits_in_blocks() -> None:
    stored = np.arange(-8, 8).reshape(8, 2)
    made = [helper.make_node("DequantizeLinear", ["w", "s"], ["wd"], axis=0, block_size=4)]
    integers = helper.make_tensor("w", TensorProto.INT4, [8, 2], stored.ravel().tolist())
    found = product(made, [integers, constant("s", [[1, 2], [3, 4]])])
    read_as = codes(found, weight(found))
    assert read_as is not None and np.array_equal(read_as, stored)
    spread = scales(weight(found).parameters, read_as.shape)
    assert spread is not None and spread.tolist() == [[1, 2]] * 4 + [[3, 4]] * 4
    assert np.array_equal(zeros(weight(found).parameters, read_as.shape), 0), "none is written"


def test_scales_that_do_not_fit_are_told_by_none() -> None:
    made = [helper.make_node("DequantizeLinear", ["w", "s"], ["wd"], axis=1)]
    found = product(made, [constant("w", STORED, np.int8), constant("s", [0.1, 0.2])])
    assert scales(weight(found).parameters, STORED.shape) is None


def test_an_activation_stores_nothing() -> None:
    made = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["wd"]),
    ]
    found = product(made, [constant("s", 0.1), constant("z", 0, np.uint8)])
    assert [codes(found, each) for each in found.tensors] == [None]
    assert span(found.tensors[0].parameters) == pytest.approx((0, 25.5))
