"""A small static quantizer of its own, and faults planted into what it writes: for tests of finding them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
_WEIGHTED = {"Conv": 0, "Gemm": 1, "MatMul": 1, "ConvTranspose": 1}  # axis of output channels
_PLAIN = {"Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "Sigmoid", "Concat", "MaxPool", "AveragePool"}
_PLAIN |= {"GlobalAveragePool", "Resize", "Softmax", "LeakyRelu", "HardSwish", "Sub", "ConvTranspose"}
_FUSED = {"Relu", "Clip"}


@dataclass(frozen=True)
class Faults:
    """`wide` and `clipped` are tensors by the factor of their range, `dead` weights by the channels stored as zeros."""

    wide: Mapping[str, float] = field(default_factory=dict)
    dead: Mapping[str, Sequence[int]] = field(default_factory=dict)


def values_of(proto: ModelProto, samples: Sequence[Mapping[str, Array]]) -> dict[str, tuple[float, float]]:
    """The range of every float tensor that a node writes or the graph takes."""
    shown = onnx.shape_inference.infer_shapes(proto)
    typed = {i.name: i.type.tensor_type.elem_type for i in (*shown.graph.value_info, *shown.graph.output)}
    names = [n for node in proto.graph.node for n in node.output if typed.get(n) == TensorProto.FLOAT]
    public = {info.name for info in proto.graph.output}
    more = ModelProto()
    more.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in public)
    run = ort.InferenceSession(proto.SerializeToString() + more.SerializeToString(), providers=["CPUExecutionProvider"])
    found: dict[str, tuple[float, float]] = {}
    for sample in samples:
        every = dict(zip(names, run.run(names, dict(sample)), strict=True)) | dict(sample)
        for name, array in every.items():
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, float(array.min(initial=0))), max(high, float(array.max(initial=0))))
    return found


def rounded(proto: ModelProto) -> set[str]:
    """What gets a pair: the outputs of most operators, but for a Conv that a Relu or a Clip alone reads."""
    readers: dict[str, list[str]] = {info.name: ["output"] for info in proto.graph.output}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    found = [(node.op_type, node.output[0]) for node in proto.graph.node if node.op_type in _PLAIN]
    return {
        name for op, name in found if op != "Conv" or len(readers.get(name, ())) != 1 or readers[name][0] not in _FUSED
    }


def quantized(
    proto: ModelProto, samples: Sequence[Mapping[str, Array]], faults: Faults | None = None, *, per_tensor: bool = False
) -> ModelProto:
    """`proto` (float32, BatchNorm folded) with uint8 activations and int8 weights, biases in float."""
    faults = faults or Faults()
    ranges = values_of(proto, samples)
    made = ModelProto()
    made.CopyFrom(proto)
    del made.graph.node[:]
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    stored: dict[str, str] = {}
    paired: dict[str, str] = {}
    public = {info.name for info in proto.graph.output}
    places = rounded(proto) & ranges.keys()

    def constant(name: str, value: Array) -> str:
        made.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def weight(node: NodeProto, name: str) -> str:
        if name not in stored:
            array = constants[name]
            axis = None if per_tensor else min(_WEIGHTED[node.op_type], array.ndim - 1)
            others = tuple(i for i in range(array.ndim) if i != axis)
            largest = np.abs(array).max() if axis is None else np.abs(array).max(axis=others)
            scale = np.maximum(np.asarray(largest, np.float32) / np.float32(127), np.float32(1e-9))
            wide = scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
            integers = np.clip(np.rint(array / wide), -127, 127).astype(np.int8)
            for channel in faults.dead.get(name, ()):
                integers[channel] = 0
            parts = [constant(f"{name}_quantized", integers), constant(f"{name}_scale", scale.astype(np.float32))]
            parts.append(constant(f"{name}_zero", np.zeros(scale.shape, np.int8)))
            stored[name] = f"{name}_DequantizeLinear_Output"
            axes = {} if axis is None else {"axis": axis}
            made.graph.node.append(
                helper.make_node("DequantizeLinear", parts, [stored[name]], f"{name}_DequantizeLinear", **axes)
            )
        return stored[name]

    def pair(name: str, source: str) -> str:
        if name not in paired:
            low, high = (end * faults.wide.get(name, 1.0) for end in ranges[name])
            scale = max((high - low) / 255, 1e-9)
            zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
            parts = [constant(f"{name}_scale", np.float32(scale)), constant(f"{name}_zero_point", zero)]
            integers = f"{name}_QuantizeLinear_Output"
            paired[name] = name if name in public else f"{name}_DequantizeLinear_Output"
            made.graph.node.append(helper.make_node("QuantizeLinear", [source, *parts], [integers], f"{name}_Q"))
            made.graph.node.append(
                helper.make_node("DequantizeLinear", [integers, *parts], [paired[name]], f"{name}_DQ")
            )
        return paired[name]

    for info in proto.graph.input:
        if info.name in ranges:
            pair(info.name, info.name)
    for node in proto.graph.node:
        new = NodeProto()
        new.CopyFrom(node)
        for port, name in enumerate(node.input):
            if node.op_type in _WEIGHTED and port == 1 and name in constants:
                new.input[port] = weight(node, name)
            elif name in paired:
                new.input[port] = paired[name]
        rounds = node.output[0] in places
        if rounds and node.output[0] in public:
            new.output[0] = f"{node.output[0]}_float"
        made.graph.node.append(new)
        if rounds:
            pair(node.output[0], new.output[0])
    used = {name for node in made.graph.node for name in node.input}
    kept = [t for t in made.graph.initializer if t.name in used]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    del made.graph.value_info[:]
    return made


def drawn(proto: ModelProto, count: int = 3, seed: int = 0) -> list[dict[str, Array]]:
    """Inputs from a normal distribution, free dims as 1."""
    draw = np.random.default_rng(seed)
    shapes = {
        info.name: [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
        for info in proto.graph.input
        if info.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    return [
        {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(count)
    ]


# --- models -----------------------------------------------------------------------------------------------------------


def _parsed(text: str, **shapes: tuple[int, ...]) -> ModelProto:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    draw = np.random.default_rng(5)
    for name, shape in shapes.items():
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        array = (draw.standard_normal(shape) * np.sqrt(2 / max(fan, 1))).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for number, node in enumerate(proto.graph.node):
        node.name = f"/{node.output[0]}/{node.op_type}_{number}"
    return proto


def mobile() -> ModelProto:
    return _parsed(
        """mobile (float[1,3,24,24] x) => (float[1,5] y) {
        a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w1, b1)
        ar = Relu (a)
        d = Conv <group=8, pads=[1,1,1,1]> (ar, w2, b2)
        dr = Relu (d)
        p = Conv (dr, w3, b3)
        pr = Relu (p)
        e = Conv <group=12, pads=[1,1,1,1]> (pr, w4, b4)
        er = Relu (e)
        q = Conv (er, w5, b5)
        qr = Relu (q)
        g = GlobalAveragePool (qr)
        f = Flatten (g)
        y = Gemm <transB=1> (f, w6, b6)
        }""",
        w1=(8, 3, 3, 3), b1=(8,), w2=(8, 1, 3, 3), b2=(8,), w3=(12, 8, 1, 1), b3=(12,),
        w4=(12, 1, 3, 3), b4=(12,), w5=(16, 12, 1, 1), b5=(16,), w6=(5, 16), b6=(5,),
    )  # fmt: skip


def residual() -> ModelProto:
    return _parsed(
        """residual (float[1,3,16,16] x) => (float[1,6] y) {
        a = Conv <pads=[1,1,1,1]> (x, w1)
        ar = Relu (a)
        b = Conv <pads=[1,1,1,1]> (ar, w2)
        br = Relu (b)
        c = Conv <pads=[1,1,1,1]> (br, w3)
        s = Add (c, ar)
        sr = Relu (s)
        e = Conv <pads=[1,1,1,1], group=8> (sr, w4)
        t = Add (e, sr)
        g = GlobalAveragePool (t)
        f = Flatten (g)
        y = Gemm <transB=1> (f, w5)
        }""",
        w1=(8, 3, 3, 3), w2=(8, 8, 3, 3), w3=(8, 8, 3, 3), w4=(8, 1, 3, 3), w5=(6, 8),
    )  # fmt: skip


def swish() -> ModelProto:
    return _parsed(
        """swish (float[1,3,16,16] x) => (float[1,4,8,8] y, float[1,2,8,8] z) {
        a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w1)
        as = Sigmoid (a)
        am = Mul (a, as)
        b = Conv <pads=[1,1,1,1], group=8> (am, w2)
        bs = Sigmoid (b)
        bm = Mul (b, bs)
        j = Concat <axis=1> (am, bm)
        c = Conv (j, w3)
        cs = Sigmoid (c)
        cm = Mul (c, cs)
        y = Conv (cm, w4)
        z = Conv (cm, w5)
        }""",
        w1=(8, 3, 3, 3), w2=(8, 1, 3, 3), w3=(12, 16, 1, 1), w4=(4, 12, 1, 1), w5=(2, 12, 1, 1),
    )  # fmt: skip


def branches() -> ModelProto:
    return _parsed(
        """branches (float[1,4,16,16] x) => (float[1,10,8,8] y) {
        a = Conv <pads=[1,1,1,1]> (x, w1)
        ar = Relu (a)
        m = MaxPool <kernel_shape=[2,2], strides=[2,2]> (ar)
        b = Conv <pads=[1,1,1,1], strides=[2,2]> (ar, w2)
        br = Relu (b)
        j = Concat <axis=1> (m, br)
        d = Conv <pads=[1,1,1,1], group=16> (j, w3)
        dr = Relu (d)
        c = Conv (dr, w4)
        y = Relu (c)
        }""",
        w1=(8, 4, 3, 3), w2=(8, 8, 3, 3), w3=(16, 1, 3, 3), w4=(10, 16, 1, 1),
    )  # fmt: skip


def attention() -> ModelProto:
    return _parsed(
        """attention (float[1,12,16] x) => (float[1,12,6] y) {
        q = MatMul (x, w1)
        k = MatMul (x, w2)
        v = MatMul (x, w3)
        kt = Transpose <perm=[0,2,1]> (k)
        s = MatMul (q, kt)
        p = Softmax <axis=-1> (s)
        o = MatMul (p, v)
        r = Add (o, x)
        h = MatMul (r, w4)
        hr = Relu (h)
        y = MatMul (hr, w5)
        }""",
        w1=(16, 16), w2=(16, 16), w3=(16, 16), w4=(16, 32), w5=(32, 6),
    )  # fmt: skip


MODELS = {each.__name__: each for each in (mobile, residual, swish, branches, attention)}
