"""Integer operators of a file, rewritten so that every CPU adds their products exactly: held against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from foreign_files import Array, operator_model
from onnx import TensorProto, helper
from saturation import has_vnni, paired

from qdsl.targets.ort.exact_products import exact_products

DRAW = np.random.default_rng(1)
# Codes at both ends, so that many neighbours are of one sign.
X = DRAW.choice([0, 3, 250, 255], (4, 64)).astype(np.uint8)
X[:, :2] = [0, 255]
W = DRAW.choice([-128, -127, 120, 126, 127], (64, 8)).astype(np.int8)
STEP, WRITTEN = np.float32(0.5), np.float32(8000)
PORTS = {
    "MatMulInteger": "x w xz wz",
    "ConvInteger": "x w xz wz",
    "MatMulIntegerToFloat": "x w xs ws xz wz",
    "QLinearMatMul": "x xs xz w ws wz ys yz",
    "QLinearConv": "x xs xz w ws wz ys yz",
    "QGemm": "x xs xz w ws wz - ys yz",
}


def answer(proto: onnx.ModelProto, x: Array) -> Array:
    """As the file is written, without what the runtime would make of it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {"x": x})[0]
    return found


def sums(x: Array, w: Array, x_zero: int = 0, w_zero: int = 0) -> Array:
    return (x.astype(np.int64) - x_zero) @ (w.astype(np.int64) - w_zero)


def test_such_a_cpu_adds_these_otherwise() -> None:
    assert np.mean(paired(X, W) != sums(X, W)) > 0.9


@pytest.mark.parametrize("zeros", [-3, [-3] * 8], ids=["zero point", "zero points"])
@pytest.mark.parametrize("signed", [False, True], ids=["uint8", "int8"])
@pytest.mark.parametrize("operator", PORTS)
def test_products(operator: str, signed: bool, zeros: Any) -> None:
    """int8 activations are added exactly here, but not on every CPU: they are written as uint8, too."""
    x, zero = (X.astype(np.int16) - 128).astype(np.int8) if signed else X, -4 if signed else 7
    fed, w = (x[:, :, None, None], W.T[:, :, None, None]) if "Conv" in operator else (x, W)
    if operator == "ConvInteger":
        zeros = -3  # the runtime takes no more
    scales = np.full(np.shape(zeros), STEP, np.float32)
    constants = {"w": w, "wz": np.asarray(zeros, np.int8), "ws": scales, "xs": STEP, "xz": x.dtype.type(zero)}
    proto = operator_model(operator, PORTS[operator], fed, **constants, ys=WRITTEN, yz=x.dtype.type(zero))
    wanted: Array = sums(x, W, zero, -3)
    if "yz" in PORTS[operator]:
        ends = np.iinfo(x.dtype)
        wanted = np.clip(np.rint(wanted * (STEP * STEP / WRITTEN)) + zero, ends.min, ends.max)
    elif operator == "MatMulIntegerToFloat":
        wanted = wanted * STEP * STEP
    found = answer(exact_products(proto), fed).reshape(4, 8)
    np.testing.assert_array_equal(found, wanted)
    saturates = not has_vnni() and not signed and operator != "ConvInteger"
    assert np.array_equal(answer(proto, fed).reshape(4, 8), wanted) != saturates


def test_unsigned_convolutions_of_signed_activations() -> None:
    """What quantizes at run time here: uint8 weights first, int8 activations second."""
    x = (X.astype(np.int16) - 128).astype(np.int8)
    w = (W.astype(np.int16) + 128).astype(np.uint8)
    proto = operator_model("ConvInteger", "x w", fed := x[:, :, None, None], w=w.T[:, :, None, None])
    np.testing.assert_array_equal(answer(exact_products(proto), fed).reshape(4, 8), sums(x, w))


def test_activations_that_the_operator_quantizes() -> None:
    """Values that are their own codes: scale 1, zero point 0."""
    x = X.astype(np.float32)
    scales = np.linspace(0.5, 1, 8, dtype=np.float32)
    proto = operator_model("DynamicQuantizeMatMul", "x w ws", x, w=W, ws=scales)
    wanted = sums(X, W) * scales
    np.testing.assert_allclose(answer(exact_products(proto), x), wanted, rtol=1e-6)
    assert np.allclose(answer(proto, x), wanted, rtol=1e-6) == has_vnni()


def test_attention() -> None:
    x, w = X[None, :, :16], DRAW.choice([-120, 127], (16, 24)).astype(np.int8)
    steps = {"xs": np.float32(1 / 255), "ws": np.float32(1 / 127), "b": np.zeros(24, np.float32)}
    ports = "x w b xs ws - xz wz"
    proto = operator_model("QAttention", ports, x, w=w, xz=np.uint8(3), wz=np.int8(1), num_heads=1, **steps)
    query, key, value = np.split(sums(x[0], w, 3, 1) * steps["xs"] * steps["ws"], 3, axis=1)
    scores = np.exp(query @ key.T / np.sqrt(8))
    wanted = scores / scores.sum(1, keepdims=True) @ value
    np.testing.assert_allclose(answer(exact_products(proto), x)[0], wanted, rtol=1e-4, atol=1e-4)
    assert np.allclose(answer(proto, x)[0], wanted, rtol=1e-4, atol=1e-4) == has_vnni()


def test_a_recurrent_layer() -> None:
    """Two steps; its own quantization of the state is what it may differ by."""
    x = (X[:2, None, :] / np.float32(255)).astype(np.float32)
    w, r = (DRAW.choice([-120, 127], (1, size, 16)).astype(np.int8) for size in (64, 4))
    steps = {"ws": np.full(1, 0.0005, np.float32), "rs": np.full(1, 0.005, np.float32)}
    zeros = {"wz": np.zeros(1, np.int8), "rz": np.zeros(1, np.int8)}
    ports = "x w r - - - - - ws wz rs rz"
    proto = operator_model("DynamicQuantizeLSTM", ports, x, w=w, r=r, hidden_size=4, **steps, **zeros)
    state, cell, wanted = np.zeros((1, 4)), np.zeros((1, 4)), []
    for row in x:
        gates = row @ (w[0] * 0.0005) + state @ (r[0] * 0.005)
        i, o, f = (1 / (1 + np.exp(-gates[:, at : at + 4])) for at in (0, 4, 8))
        cell = f * cell + i * np.tanh(gates[:, 12:])
        state = o * np.tanh(cell)
        wanted.append(state)
    np.testing.assert_allclose(answer(exact_products(proto), x)[:, 0], np.stack(wanted), atol=0.005)
    assert np.allclose(answer(proto, x)[:, 0], np.stack(wanted), atol=0.005) == has_vnni()


def test_bodies() -> None:
    inner = operator_model("MatMulInteger", "x w", X, w=W).graph
    del inner.input[:]
    branch = helper.make_node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner)
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, X.shape)
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    written = helper.make_tensor_value_info("z", TensorProto.INT32, None)
    graph = helper.make_graph([branch], "outer", [given], [written], [yes])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    np.testing.assert_array_equal(answer(exact_products(proto), X), sums(X, W))


def test_a_file_without_such_operators_is_left() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2,2] x) => (float[2,2] y) { y = Relu (x) }'
    proto = onnx.parser.parse_model(text)
    assert exact_products(proto) is proto
