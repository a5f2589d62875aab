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


def integer_conv(
    codes: Array, *, operators: bool = False, signed: bool = False, group: int = 1, zeros: Any = 0
) -> ModelProto:
    """A Conv of the stored integers `codes` [M, C/group, H, W], between Q/DQ nodes or (`operators`) as QLinearConv;
    `signed`: int8 activations. `zeros`: the zero point of the weight, or one per channel."""
    zero = np.int8(0) if signed else np.uint8(128)
    points = np.asarray(zeros, codes.dtype)
    node = helper.make_node
    scales = ["s", "z"]
    quantize = node("QuantizeLinear", ["x", *scales], ["xq"])
    if operators:
        inner = [node("QLinearConv", ["xq", *scales, "w", "ws", "wz", *scales], ["yq"], name="conv", group=group)]
    else:
        inner = [
            node("DequantizeLinear", ["xq", *scales], ["xd"]),
            node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], **({"axis": 0} if points.ndim else {})),
            node("Conv", ["xd", "wd"], ["c"], name="conv", group=group),
            node("QuantizeLinear", ["c", *scales], ["yq"]),
        ]
    nodes = [quantize, *inner, node("DequantizeLinear", ["yq", *scales], ["y"])]
    channels = codes.shape[1] * group
    steps = np.full(points.shape, 0.02, np.float32)
    return _model(nodes, (1, channels, 8, 8), w=codes, wz=points, ws=steps, s=np.float32(0.02), z=zero)


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


def scaled(
    operator: str, codes: Array, axis: int | None, *, bias: Any = None, step: float = 0.0, **attrs: Any
) -> ModelProto:
    """A Conv or Gemm between Q/DQ nodes with weights `codes` and a scale per index of their `axis` (None: left out, 1),
    input scale 0.05. `bias` is float, or (`step`) int32 in steps of so much."""
    node = helper.make_node
    scales = np.linspace(0.002, 0.02, codes.shape[1 if axis is None else axis], dtype=np.float32)
    more: dict[str, Any] = {} if axis is None else {"axis": axis}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], **more),
        node(operator, ["xd", "wd", *([] if bias is None else ["bd" if step else "b"])], ["c"], name="node", **attrs),
        node("QuantizeLinear", ["c", "ys", "z"], ["yq"]),
        node("DequantizeLinear", ["yq", "ys", "z"], ["y"]),
    ]
    constants = {"w": codes, "ws": scales, "wz": np.zeros(len(scales), codes.dtype), "s": np.float32(0.05)}
    constants |= {"z": np.uint8(128), "ys": np.float32(0.1)}
    if bias is not None:
        constants["b"] = np.asarray(bias)
    if step:
        constants["bs"] = np.float32(step)
        nodes.insert(3, node("DequantizeLinear", ["b", "bs"], ["bd"]))
    channels = codes.shape[1] if operator == "Conv" or attrs.get("transB") else codes.shape[0]
    return _model(nodes, (1, channels, 6, 6) if operator == "Conv" else (4, channels), **constants)


def folded(before: list[Any], operator: str = "Conv", *, shape: tuple[int, ...], **constants: Any) -> ModelProto:
    """A Conv or MatMul between Q/DQ nodes. The nodes `before` compute its weight `wd` from constants: the runtime does
    when it loads the file."""
    node = helper.make_node
    scales = ["s", "z"]
    nodes = [
        node("QuantizeLinear", ["x", *scales], ["xq"]),
        node("DequantizeLinear", ["xq", *scales], ["xd"]),
        *before,
        node(operator, ["xd", "wd"], ["c"], name="node"),
        node("QuantizeLinear", ["c", "o", "z"], ["yq"]),
        node("DequantizeLinear", ["yq", "o", "z"], ["y"]),
    ]
    constants |= {"s": np.float32(1 / 255), "z": np.uint8(0), "o": np.float32(0.2)}
    return _model(nodes, shape, **constants)


def of_activations(types: tuple[Any, Any], *, shared: bool = False) -> ModelProto:
    """The product of two activations quantized to `types`, each by a pair of its own. `shared`: another node reads the
    second one, which keeps the runtime from turning its int8 into uint8."""
    node = helper.make_node
    nodes = [node("Relu", ["x"], ["b"]), node("Transpose", ["b"], ["t"])]
    for name, source in (("l", "x"), ("r", "t")):
        nodes.append(node("QuantizeLinear", [source, f"{name}s", f"{name}z"], [f"{name}q"]))
        nodes.append(node("DequantizeLinear", [f"{name}q", f"{name}s", f"{name}z"], [f"{name}d"]))
    nodes.append(node("MatMul", ["ld", "rd"], ["c" if shared else "y"], name="node"))
    if shared:
        nodes.append(node("DequantizeLinear", ["rq", "rs", "rz"], ["more"]))
        nodes += [node("ReduceMax", ["more"], ["m"]), node("Add", ["c", "m"], ["y"])]
    steps = {f"{name}s": np.float32(1 / np.iinfo(each).max) for name, each in zip("lr", types, strict=True)}
    return _model(nodes, (16, 16), **steps, lz=types[0](0), rz=types[1](0))


def operator_model(operator: str, ports: str, x: Array, **constants: Any) -> ModelProto:
    """One node of ONNX or of ONNX Runtime whose inputs are `ports`: names, or `-` for an absent one. `x` says what is
    fed, `constants` are the others."""
    domain = "" if operator in ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul") else "com.microsoft"
    attributes = {name: constants.pop(name) for name in ("num_heads", "hidden_size") if name in constants}
    names = [name.replace("-", "") for name in ports.split()]
    node = helper.make_node(operator, names, ["y"], name="node", domain=domain, **attributes)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in names]
    given = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    integers = {"ConvInteger": TensorProto.INT32, "MatMulInteger": TensorProto.INT32}
    if "yz" in names:
        integers[operator] = helper.np_dtype_to_tensor_dtype(np.asarray(constants["yz"]).dtype)
    kind = integers.get(operator, TensorProto.FLOAT)
    graph = helper.make_graph([node], "one", [given], [helper.make_tensor_value_info("y", kind, None)], stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)
