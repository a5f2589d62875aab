"""Small files as other quantizers write them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]


def _model(nodes: list[Any], inputs: tuple[int, ...], **constants: Any) -> ModelProto:
    for number, each in enumerate(nodes):
        each.name = each.name or f"node{number}"
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(inputs))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def integer_conv(codes: Array, *, operators: bool = False, signed: bool = False, group: int = 1) -> ModelProto:
    """A Conv of the stored integers `codes` [M, C/group, H, W], between Q/DQ nodes or (`operators`) as QLinearConv;
    `signed`: int8 activations."""
    zero = np.int8(0) if signed else np.uint8(128)
    node = helper.make_node
    scales = ["s", "z"]
    quantize = node("QuantizeLinear", ["x", *scales], ["xq"])
    if operators:
        inner = [node("QLinearConv", ["xq", *scales, "w", "s", "wz", *scales], ["yq"], name="conv", group=group)]
    else:
        inner = [
            node("DequantizeLinear", ["xq", *scales], ["xd"]),
            node("DequantizeLinear", ["w", "s", "wz"], ["wd"]),
            node("Conv", ["xd", "wd"], ["c"], name="conv", group=group),
            node("QuantizeLinear", ["c", *scales], ["yq"]),
        ]
    nodes = [quantize, *inner, node("DequantizeLinear", ["yq", *scales], ["y"])]
    channels = codes.shape[1] * group
    return _model(nodes, (1, channels, 8, 8), w=codes, wz=np.zeros((), codes.dtype), s=np.float32(0.02), z=zero)


def integer_matmul(codes: Array) -> ModelProto:
    """What dynamic quantization makes of a MatMul by `codes` [K, N]."""
    node = helper.make_node
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        node("MatMulInteger", ["xq", "w", "xz"], ["i"], name="matmul"),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "xs"], ["y"]),
    ]
    return _model(nodes, (4, codes.shape[0]), w=codes)
