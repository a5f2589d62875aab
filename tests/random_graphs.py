"""Seeded random float graphs, and random but valid decisions about quantizing them.

`random_model(seed)` builds a small vision-like graph (at most 16x16 pixels, a few channels) with branches, residuals,
fan-out, outputs in the middle and most operators a predictor has a rule for. `random_decisions(view, seed)` decides,
as a plan would, which tensors carry Q/DQ, in which type and for which readers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qdsl.capability import MOVES, Capability, Row
from qdsl.graph.view import GraphView, NodeView
from qdsl.spec import DTYPES, Granularity, Scheme
from qdsl.spec.plan import BiasPlan, Calibration, Origin, Reader, TensorPlan, WeightPlan

_ORIGIN = Origin("random")
_IR = {13: 8, 17: 8, 19: 9, 21: 10}


# --- graphs ---------------------------------------------------------------------------------------------------------


class Builder:
    """Collects nodes and constants of one graph; names count up."""

    def __init__(self, seed: int, opset: int) -> None:
        self.rng = random.Random(seed)
        self.values = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.read: set[str] = set()
        self.made: dict[tuple[str, tuple[str | bytes, ...], str], list[str]] = {}
        self.reshaped: dict[str, str] = {}
        self.value_of: dict[str, bytes] = {}

    def name(self, stem: str) -> str:
        return f"{stem}_{len(self.nodes)}_{len(self.constants)}"

    def constant(self, array: np.ndarray, stem: str = "const") -> str:
        name = self.name(stem)
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        self.value_of[name] = np.asarray(array).tobytes()
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self.values.normal(0, 0.5, shape).astype(np.float32), "weight")

    def node(self, op: str, inputs: Sequence[str], shapes: Sequence[tuple[int, ...]], **attrs: object) -> list[str]:
        key = (op, tuple(self.value_of.get(i, i) for i in inputs), repr(sorted(attrs.items())))
        if key in self.made and self.rng.random() < 0.7:  # sometimes two equal nodes
            return self.made[key]
        source = self.reshaped.get(inputs[0]) if op == "Reshape" else None
        if source is not None and self.shapes[source] == shapes[0]:
            return [source]  # there and back again: nothing to run
        name = self.name(op)
        outputs = [f"{name}_out{i}" for i in range(len(shapes))]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attrs))
        self.read.update(inputs)
        self.shapes.update(zip(outputs, shapes, strict=True))
        self.made[key] = outputs
        if op == "Reshape":
            self.reshaped[outputs[0]] = self.reshaped.get(inputs[0], inputs[0])
        return outputs

    def one(self, op: str, inputs: Sequence[str], shape: tuple[int, ...], **attrs: object) -> str:
        return self.node(op, inputs, [shape], **attrs)[0]


def conv(b: Builder, x: str, *, out: int | None = None) -> str:
    n, c, h, w = b.shapes[x]
    depthwise = b.rng.random() < 0.2
    out = c if depthwise else out or b.rng.choice([3, 4, 8])
    k = b.rng.choice([1, 1, 3]) if min(h, w) >= 3 else 1
    stride = 2 if k == 3 and min(h, w) >= 6 and b.rng.random() < 0.3 else 1
    inputs = [x, b.weight(out, 1 if depthwise else c, k, k)]
    if b.rng.random() < 0.8:
        inputs.append(b.weight(out))
    size = tuple((d + 2 * (k // 2) - k) // stride + 1 for d in (h, w))
    return b.one("Conv", inputs, (n, out, *size), pads=[k // 2] * 4, strides=[stride] * 2, group=c if depthwise else 1)


def activation(b: Builder, x: str) -> str:
    shape = b.shapes[x]
    kind = b.rng.choice(
        ["Relu", "Relu", "Clip", "SiLU", "SiLU", "Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "HardSigmoid"]
    )
    if kind in ("Relu", "Clip") and any(n.output[0] == x and n.op_type in ("Relu", "Clip") for n in b.nodes):
        kind = "Tanh"  # a canonical graph has one Clip for the two
    if kind == "SiLU":
        return b.one("Mul", [x, b.one("Sigmoid", [x], shape)], shape)
    if kind == "Clip":
        low, high = b.rng.choice([(0.0, 6.0), (0.0, 6.0), (-1.0, 1.0), (0.5, 2.0), (0.0, 1.0)])
        return b.one("Clip", [x, b.constant(np.float32(low)), b.constant(np.float32(high))], shape)
    if kind == "HardSwish" and b.opset < 14:
        kind = "HardSigmoid"
    return b.one(kind, [x], shape)


def pool(b: Builder, x: str) -> str:
    n, c, h, w = b.shapes[x]
    kind = b.rng.choice(["MaxPool", "MaxPool", "AveragePool"])
    stride = 2 if min(h, w) >= 4 and b.rng.random() < 0.5 else 1
    size = tuple((d + 2 - 3) // stride + 1 for d in (h, w))
    if min(h, w) < 2:
        return x
    return b.one(kind, [x], (n, c, *size), kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4)


def resize(b: Builder, x: str) -> str:
    n, c, h, w = b.shapes[x]
    if max(h, w) > 16:
        return x
    mode = b.rng.choice(["nearest", "nearest", "linear"])
    scales = b.constant(np.array([1, 1, 2, 2], np.float32))
    attrs = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if mode == "nearest" else {}
    return b.one("Resize", [x, "", scales], (n, c, h * 2, w * 2), mode=mode, **attrs)


def binary(b: Builder, x: str, y: str) -> str:
    op = b.rng.choice(["Add", "Add", "Add", "Mul", "Sub", "Div"])
    if op == "Div":
        y = b.one("Exp", [b.one("Tanh", [y], b.shapes[y])], b.shapes[y])
    return b.one(op, [x, y], b.shapes[x])


def with_constant(b: Builder, x: str) -> str:
    c = b.shapes[x][1]
    shape = b.rng.choice([(), (1,), (1, c, 1, 1)])
    table = b.values.uniform(0.5, 2.0, shape).astype(np.float32)
    return b.one(b.rng.choice(["Add", "Mul", "Sub"]), [x, b.constant(table)], b.shapes[x])


def split(b: Builder, x: str) -> list[str]:
    n, c, h, w = b.shapes[x]
    if c < 2:
        return [x]
    first = c // 2
    parts = [(n, first, h, w), (n, c - first, h, w)]
    return b.node("Split", [x, b.constant(np.array([first, c - first], np.int64))], parts, axis=1)


def move(b: Builder, x: str) -> str:
    n, c, h, w = b.shapes[x]
    kind = b.rng.choice(["Slice", "Transpose", "Reshape", "Reshape", "Pad", "Unsqueeze"])
    if kind == "Transpose" and any(node.op_type == "Transpose" for node in b.nodes):
        kind = "Slice"  # where a runtime moves two transpositions that cancel is not predicted
    if kind == "Slice":
        ends = [b.constant(np.array(v, np.int64)) for v in ([0], [max(1, c - 1)], [1], [1])]
        return b.one("Slice", [x, *ends], (n, max(1, c - 1), h, w))
    if kind == "Transpose":
        return b.one("Transpose", [x], (n, c, w, h), perm=[0, 1, 3, 2])
    if kind == "Pad":
        pads = b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        return b.one("Pad", [x, pads], (n, c, h + 2, w + 2))
    if kind == "Unsqueeze":
        axes = b.constant(np.array([0], np.int64))
        five = b.one("Unsqueeze", [x, axes], (1, n, c, h, w))
        return (
            b.one("Squeeze", [five, axes], (n, c, h, w)) if b.rng.random() < 0.5 else _flat_back(b, five, (n, c, h, w))
        )
    return b.one("Reshape", [x, b.constant(np.array([n, c, w, h], np.int64))], (n, c, w, h))


def _flat_back(b: Builder, x: str, shape: tuple[int, ...]) -> str:
    shape = (shape[0], shape[1], shape[3], shape[2])
    return b.one("Reshape", [x, b.constant(np.array(shape, np.int64))], shape)


def select(b: Builder, x: str, y: str) -> str:
    condition = b.one("Greater", [x, b.constant(np.float32(0.1))], b.shapes[x])
    other = b.constant(np.float32(0.25)) if b.rng.random() < 0.3 else y
    return b.one("Where", [condition, x, other], b.shapes[x])


def attention(b: Builder, x: str, y: str) -> str:
    """The product of two computed matrices, softmax in between."""
    n, c, h, w = b.shapes[x]
    left = b.one("Reshape", [x, b.constant(np.array([n, c, h * w], np.int64))], (n, c, h * w))
    right = b.one("Reshape", [y, b.constant(np.array([n, h * w, c], np.int64))], (n, h * w, c))
    scores = b.one("MatMul", [left, right], (n, c, c))
    scores = b.one("Softmax", [scores], (n, c, c), axis=-1) if b.rng.random() < 0.7 else scores
    mixed = b.one("MatMul", [scores, left], (n, c, h * w))
    return b.one("Reshape", [mixed, b.constant(np.array([n, c, h, w], np.int64))], (n, c, h, w))


def transposed_conv(b: Builder, x: str) -> str:
    n, c, h, w = b.shapes[x]
    if max(h, w) > 16:
        return x
    return b.one("ConvTranspose", [x, b.weight(c, 4, 2, 2), b.weight(4)], (n, 4, 2 * h, 2 * w), strides=[2, 2])


def head(b: Builder, x: str) -> str:
    n, c, h, w = b.shapes[x]
    kind = b.rng.choice(["GlobalAveragePool", "ReduceMean", "Flatten", "Softmax"])
    if kind == "Softmax":
        flat = b.one("Reshape", [x, b.constant(np.array([n, c, h * w], np.int64))], (n, c, h * w))
        return b.one("Softmax", [flat], (n, c, h * w), axis=b.rng.choice([-1, 1]))
    if kind == "ReduceMean":
        if b.opset >= 18:
            x = b.one("ReduceMean", [x, b.constant(np.array([2, 3], np.int64))], (n, c, 1, 1), keepdims=1)
        else:
            x = b.one("ReduceMean", [x], (n, c, 1, 1), axes=[2, 3], keepdims=1)
    elif kind == "GlobalAveragePool":
        x = b.one("GlobalAveragePool", [x], (n, c, 1, 1))
    size = int(np.prod(b.shapes[x][1:]))
    x = b.one("Flatten", [x], (n, size), axis=1)
    return dense(b, x, size)


def dense(b: Builder, x: str, size: int) -> str:
    n = b.shapes[x][0]
    if b.rng.random() < 0.5:
        trans = b.rng.random() < 0.5
        inputs = [x, b.weight(5, size) if trans else b.weight(size, 5)]
        if b.rng.random() < 0.8:
            inputs.append(b.weight(5))
        x = b.one("Gemm", inputs, (n, 5), **({"transB": 1} if trans else {}))
    else:
        x = b.one("MatMul", [x, b.weight(size, 5)], (n, 5))
        if b.rng.random() < 0.4:
            x = b.one("Add", [x, b.weight(5)], (n, 5))
    if b.rng.random() < 0.4:
        x = b.one("Relu", [x], (n, 5))
    if b.rng.random() < 0.3:
        x = b.one("Softmax", [x], (n, 5), axis=-1)
    return x


def random_model(seed: int) -> onnx.ModelProto:
    """A valid float model; the same for the same seed."""
    rng = random.Random(seed * 7919 + 1)
    b = Builder(seed, rng.choice([17, 17, 17, 13, 21]))
    size, channels = rng.choice([8, 12, 16]), rng.choice([1, 3, 4])
    b.shapes["image"] = (1, channels, size, size)
    pool_of = ["image", conv(b, "image")]
    for _ in range(rng.randint(3, 14)):
        pool_of += _step(b, pool_of)
    for _ in range(rng.choice([0, 1, 1, 2])):
        pool_of.append(head(b, rng.choice([t for t in pool_of if len(b.shapes[t]) == 4])))
    return _finish(b, pool_of, rng)


def _step(b: Builder, known: list[str]) -> list[str]:
    x = b.rng.choice(known[-4:])
    same = [t for t in known if b.shapes[t] == b.shapes[x] and t != x]
    kind = b.rng.random()
    if kind < 0.42:
        y = conv(b, x)
        return [activation(b, y) if b.rng.random() < 0.75 else y]
    if kind < 0.50 and same:
        return [binary(b, x, b.rng.choice(same))]
    if kind < 0.56:
        y = conv(b, x, out=b.shapes[x][1])
        return [binary(b, y, x)] if b.shapes[y] == b.shapes[x] else [y]
    if kind < 0.64 and same:
        others = b.rng.sample(same, min(len(same), b.rng.randint(1, 2)))
        n, _, h, w = b.shapes[x]
        return [b.one("Concat", [x, *others], (n, sum(b.shapes[t][1] for t in [x, *others]), h, w), axis=1)]
    if kind < 0.66 and same:
        return [attention(b, x, b.rng.choice(same))]
    if kind < 0.69 and same:
        return [select(b, x, b.rng.choice(same))]
    if kind < 0.75:
        return split(b, x)
    makers = [pool, pool, resize, move, move, with_constant, transposed_conv, activation]
    return [b.rng.choice(makers)(b, x)]


def _finish(b: Builder, known: list[str], rng: random.Random) -> onnx.ModelProto:
    ends = [t for t in dict.fromkeys(known) if t not in b.read and t != "image"]
    inner = [t for t in dict.fromkeys(known) if t in b.read and t != "image"]
    extra = rng.sample(inner, min(len(inner), rng.choice([0, 0, 1])))
    outputs = [helper.make_tensor_value_info(t, TensorProto.FLOAT, b.shapes[t]) for t in ends + extra]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, b.shapes["image"])]
    graph = helper.make_graph(b.nodes, "random", inputs, outputs, b.constants)
    opsets = [helper.make_opsetid("", b.opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR[b.opset], producer_name="random_graphs")
    return onnx.shape_inference.infer_shapes(model)


# --- decisions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decisions:
    """What a plan decides about Q/DQ: ready for the inserter."""

    tensors: tuple[TensorPlan, ...]
    weights: tuple[WeightPlan, ...]
    biases: tuple[BiasPlan, ...]
    float_biases: tuple[BiasPlan, ...] = ()


@dataclass
class _Taste:
    """How one graph is quantized: mostly one activation type, with exceptions."""

    rng: random.Random
    opset: int
    usual: Scheme = field(init=False)
    weight: Scheme = field(init=False)

    def __post_init__(self) -> None:
        u8, s8 = DTYPES["uint8"], DTYPES["int8"]
        self.usual = self.rng.choice([Scheme(u8, False)] * 6 + [Scheme(s8, False), Scheme(s8, True), Scheme(u8, True)])
        self.weight = self.rng.choice([Scheme(s8, True, Granularity.PER_CHANNEL)] * 3 + [Scheme(s8, True)])

    def activation(self) -> Scheme:
        if self.rng.random() < 0.93:
            return self.usual
        others = [Scheme(DTYPES["uint8"], False), Scheme(DTYPES["int8"], False), Scheme(DTYPES["int8"], True)]
        others += [Scheme(DTYPES["uint16"], False)] if self.opset >= 21 else []
        return self.rng.choice(others)

    def weights(self) -> Scheme:
        if self.rng.random() < 0.9:
            return self.weight
        others = [Scheme(DTYPES["uint8"], False), Scheme(DTYPES["uint8"], False, Granularity.PER_CHANNEL)]
        if self.opset >= 21:
            others += [Scheme(DTYPES["int4"], True, Granularity.PER_CHANNEL, storage_only=True)]
            others += [Scheme(DTYPES["int16"], True, storage_only=True)]
        return self.rng.choice(others)


def random_decisions(view: GraphView, capability: Capability, seed: int) -> Decisions:
    """Valid decisions over a float graph: random tensors, types, readers, shared scales, weights and biases."""
    rng = random.Random(seed * 104729 + 7)
    taste = _Taste(rng, view.opset)
    leave = rng.choice([0.0, 0.0, 0.03, 0.15, 0.4])
    tensors = _tensors(view, capability, taste, leave)
    weights = _weights(view, capability, taste, leave)
    biases = _biases(view, tensors, weights, rng)
    return Decisions(tuple(tensors.values()), tuple(weights), tuple(biases))


def _tensors(view: GraphView, capability: Capability, taste: _Taste, leave: float) -> dict[str, TensorPlan]:
    rng = taste.rng
    folds = {n.outputs[0] for n in view.nodes if _read_by_activation_only(view, n.outputs[0])}
    made: dict[str, TensorPlan] = {}
    for name, tensor in view.tensors.items():
        if tensor.kind == "constant" or tensor.dtype != "float32" or rng.random() < leave:
            continue
        if name in folds and rng.random() < 0.9:
            continue
        readers = [Reader(view.nodes[use.node].name, use.port) for use in tensor.uses]
        readers = [r for r in readers if rng.random() > leave / 2]
        readers += [Reader("", -1)] if tensor.is_output and rng.random() < 0.5 else []
        if not readers:
            continue
        scheme, group = _joined(view, capability, made, tensor.producer, name, taste)
        readers.sort()
        made[name] = TensorPlan(name, scheme, tuple(readers), group, True, Calibration("minmax"), _ORIGIN)
    return made


def _read_by_activation_only(view: GraphView, tensor: str) -> bool:
    uses = view.tensors[tensor].uses
    return len(uses) == 1 and view.nodes[uses[0].node].op in ("Relu", "Clip") and not view.tensors[tensor].is_output


def _joined(
    view: GraphView, capability: Capability, made: dict[str, TensorPlan], producer: int | None, name: str, taste: _Taste
) -> tuple[Scheme, str]:
    """The scheme and group of a new tensor: its mover's input's, most of the time."""
    node = None if producer is None else view.nodes[producer]
    if node is None or not node.inputs or node.inputs[0] not in made:
        return taste.activation(), name
    chance = 0.9 if capability.row_for(node, view).kind == MOVES else 0.05
    if taste.rng.random() < chance:
        before = made[node.inputs[0]]
        return before.scheme, before.group
    return taste.activation(), name


def _weights(view: GraphView, capability: Capability, taste: _Taste, leave: float) -> list[WeightPlan]:
    made: list[WeightPlan] = []
    for node in view.nodes:
        row = capability.row_for(node, view)
        if taste.rng.random() < leave / 2:
            continue
        made += [_weight(node, row, port, taste.weights()) for port in row.weight_ports(node, view)]
        for port in row.constant_ports(node, view):
            scheme = taste.usual if taste.rng.random() < 0.9 else taste.activation()
            made.append(WeightPlan(node.name, port, node.inputs[port], scheme, None, _ORIGIN))
    return made


def _weight(node: NodeView, row: Row, port: int, scheme: Scheme) -> WeightPlan:
    axis = row.channel_axis.of(node) if row.channel_axis and scheme.granularity is Granularity.PER_CHANNEL else None
    return WeightPlan(node.name, port, node.inputs[port], scheme, axis, _ORIGIN)


def _biases(
    view: GraphView, tensors: dict[str, TensorPlan], weights: list[WeightPlan], rng: random.Random
) -> list[BiasPlan]:
    made = []
    for weight in weights:
        node = view.node(weight.node)
        activation = node.inputs[0]
        reads = activation in tensors and Reader(node.name, 0) in tensors[activation].readers
        if (
            node.op in ("Conv", "Gemm")
            and len(node.inputs) > 2
            and reads
            and weight.scheme.dtype.bits == 8
            and rng.random() < 0.6
        ):
            made.append(BiasPlan(node.name, 2, node.inputs[2], activation, 1, _ORIGIN))
    return made
