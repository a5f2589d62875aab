"""Seeded random graphs of attention spelled out, as exporters write it: heads by Reshape and Transpose, K and V of few
heads repeated, rotary positions, masks, scales, biases."""

from __future__ import annotations

import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TIME, HEADS, DEPTH = 6, 4, 8
WIDTH = HEADS * DEPTH


class _Net:
    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.values = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, TIME, WIDTH])]
        self.outputs: list[str] = []
        self.keys = TIME  # with those of a cache
        self.rotary = True
        self.cached = 0.0

    def input(self, *shape: int) -> str:
        name = f"in{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def constant(self, array: object) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self.values.normal(0, 0.3, shape).astype(np.float32))

    def scalar(self, value: float) -> str:
        return self.constant(np.asarray(value, np.float32))

    def shape(self, *dims: int) -> str:
        return self.constant(np.asarray(dims, np.int64))

    def op(self, op: str, *inputs: str, outputs: int = 1, **attrs: object) -> str:
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, f"{op}_{len(self.nodes)}", **attrs))
        return names[0]

    def kept(self, *names: str) -> None:
        """Each is a graph output by chance."""
        self.outputs += [name for name in names if self.cached and self.maybe(self.cached)]

    def maybe(self, share: float = 0.5) -> bool:
        return self.pick.random() < share


def attention_model(seed: int, opset: int = 17, *, rotary: bool = True, cached: float = 0.0) -> onnx.ModelProto:
    """One or two layers of attention over x [1, TIME, WIDTH]; `rotary`: some with positions turned into Q and K;
    `cached`: the share of forms of K and V that are graph outputs, for the next call."""
    net = _Net(seed)
    net.rotary, net.cached = rotary, cached
    x = "x"
    for _ in range(1 + net.maybe(0.3)):
        y = _layer(net, x)
        x = net.op("Add", x, y) if net.maybe() else y
    net.nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        net.nodes,
        "attention",
        net.inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", *dict.fromkeys(net.outputs))],
        net.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def _layer(net: _Net, x: str) -> str:
    few = net.pick.choice([HEADS, HEADS, 2, 1])
    q, k, v = _projected(net, x, few)
    q = _rotated(net, q, HEADS) if (turn := net.rotary and net.maybe(0.3)) else q
    k = _rotated(net, k, few) if turn else k
    if net.maybe(0.4):
        q = net.op("Mul", q, net.scalar(DEPTH**-0.5))
    net.keys = TIME
    if net.maybe(0.2):
        net.keys += 3
        k, v = (net.op("Concat", net.input(1, few, 3, DEPTH), part, axis=2) for part in (k, v))
    net.kept(k, v)
    k, v = _repeated(net, k, few), _repeated(net, v, few)
    net.kept(k, v)
    scores = _scores(net, q, k)
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
    joined = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), net.shape(1, TIME, WIDTH))
    return _dense(net, joined, WIDTH, WIDTH)


def _dense(net: _Net, x: str, inside: int, outside: int) -> str:
    y = net.op("MatMul", x, net.weight(inside, outside))
    return net.op("Add", y, net.weight(outside)) if net.maybe() else y


def _projected(net: _Net, x: str, few: int) -> tuple[str, str, str]:
    """Q, K and V as [1, heads, time, depth], from one product or three."""
    if few == HEADS and net.maybe(0.3):
        whole = _dense(net, x, WIDTH, 3 * WIDTH)
        if net.maybe():
            parts = net.op("Split", whole, net.shape(WIDTH, WIDTH, WIDTH), outputs=3, axis=2)
            names = [parts.replace("_0", f"_{i}") for i in range(3)]
            return tuple(_heads(net, name, HEADS) for name in names)  # type: ignore[return-value]
        apart = net.op("Reshape", whole, net.shape(1, TIME, 3, HEADS, DEPTH))
        apart = net.op("Transpose", apart, perm=[2, 0, 3, 1, 4])
        return tuple(net.op("Gather", apart, net.constant(np.int64(i)), axis=0) for i in range(3))  # type: ignore[return-value]
    return tuple(_heads(net, _dense(net, x, WIDTH, n * DEPTH), n) for n in (HEADS, few, few))  # type: ignore[return-value]


def _heads(net: _Net, x: str, heads: int) -> str:
    apart = net.op("Reshape", x, net.shape(1, TIME, heads, DEPTH))
    turned = net.op("Transpose", apart, perm=[0, 2, 1, 3])
    net.kept(x, apart, turned)
    return turned


def _rotated(net: _Net, x: str, heads: int) -> str:
    """x cos + (-x2, x1) sin"""
    half = DEPTH // 2
    parts = [net.op("Slice", x, net.shape(a), net.shape(b), net.shape(3)) for a, b in ((0, half), (half, DEPTH))]
    turned = net.op("Concat", net.op("Neg", parts[1]), parts[0], axis=3)
    cos, sin = net.weight(1, 1, TIME, DEPTH), net.weight(1, 1, TIME, DEPTH)
    return net.op("Add", net.op("Mul", x, cos), net.op("Mul", turned, sin))


def _repeated(net: _Net, x: str, few: int) -> str:
    """Each of few heads for several of Q."""
    if few == HEADS:
        return x
    wide = net.op("Unsqueeze", x, net.shape(2))
    times = (1, few, HEADS // few, net.keys, DEPTH)
    wide = net.op("Expand", wide, net.shape(*times)) if net.maybe() else _tiled(net, wide, HEADS // few)
    return net.op("Reshape", wide, net.shape(1, HEADS, net.keys, DEPTH))


def _tiled(net: _Net, x: str, times: int) -> str:
    if net.maybe():
        return net.op("Tile", x, net.shape(1, 1, times, 1, 1))
    return net.op("Concat", *[x] * times, axis=2)


def _scores(net: _Net, q: str, k: str) -> str:
    turned = net.op("Transpose", k, perm=[0, 1, 3, 2])
    net.kept(turned)
    scores = net.op("MatMul", q, turned)
    how = net.pick.choice(["", "Div", "Mul"])
    if how:
        scores = net.op(how, scores, net.scalar(DEPTH**0.5 if how == "Div" else DEPTH**-0.5))
    if net.maybe(0.4):
        mask = np.triu(np.full((TIME, net.keys), net.pick.choice([-1e4, -1.0]), np.float32), 1)[None, None]
        scores = net.op("Add", scores, net.constant(mask))
    return scores
