"""Damages the bytes of ONNX models and takes them through loading, canonicalising and planning."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto

from qdsl.diag import Diagnostics, QdslError
from qdsl.graph import load, to_bytes
from qdsl.lang import loads
from qdsl.passes.pipeline import canonicalise
from qdsl.plan import decide

RECIPE = """recipe fuzz
model onnx "fuzz.onnx"
data calib from npz "calib.npz"
quantize static { weights int8 per_channel; activations uint8; calibrate minmax on calib }
target ort
"""
Damage = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def _flip(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _header(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Bytes near the end, where graph inputs, outputs and versions stand, rather than among the weights."""
    for _ in range(rng.choice((1, 3))):
        data[-rng.randrange(1, min(len(data), 400) + 1)] = rng.randrange(256)


def _cut(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[rng.randrange(1, len(data)) :]


def _hole(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 4, 100))]


def _double(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.choice((1, 16, 300))]


def _splice(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Protobuf messages may follow each other: the fields of both count."""
    other = rng.choice(others)
    data += other[rng.choice((0, rng.randrange(len(other)))) :]


def _text(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """One operator or attribute name for another of the same length."""
    for old, new in rng.sample(RENAMES, 3):
        at = data.find(old, rng.randrange(len(data)))
        if at >= 0:
            data[at : at + len(old)] = new


def _structure(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A file that still reads: nodes, attributes, links, shapes and types changed at will."""
    try:
        model = ModelProto.FromString(bytes(data))
    except DecodeError:
        return
    for _ in range(rng.choice((1, 2, 5))):
        with suppress(UnicodeDecodeError):  # a name that an earlier damage spoilt
            if model.graph.node:
                rng.choice(CHANGES)(rng, model.graph)
    data[:] = model.SerializeToString()


def _relink(rng: random.Random, graph: GraphProto) -> None:
    node, other = rng.choice(graph.node), rng.choice(graph.node)
    names = [*other.input, *other.output, *(i.name for i in graph.input), "", "nowhere"]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)


def _rename_op(rng: random.Random, graph: GraphProto) -> None:
    rng.choice(graph.node).op_type = rng.choice(OPS)


def _attribute(rng: random.Random, graph: GraphProto) -> None:
    node = rng.choice(graph.node)
    if node.attribute and rng.random() < 0.7:
        attribute = rng.choice(node.attribute)
        if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(INTS)
        elif attribute.type == attribute.INT:
            attribute.i = rng.choice(INTS)
        else:
            node.attribute.remove(attribute)
    else:
        node.attribute.add(name=rng.choice(("axis", "pads", "group", "kernel_shape", "to")), type=2, i=rng.choice(INTS))


def _dims(rng: random.Random, graph: GraphProto) -> None:
    if graph.initializer:
        tensor = rng.choice(graph.initializer)
        tensor.dims[:] = rng.choice(([], [0], [*tensor.dims, 1], list(tensor.dims)[::-1], [rng.choice(INTS)]))


def _element_type(rng: random.Random, graph: GraphProto) -> None:
    infos = [*graph.input, *graph.output, *graph.value_info]
    rng.choice(infos).type.tensor_type.elem_type = rng.choice((0, 1, 2, 6, 7, 8, 9, 10, 16, 21, 99))


def _input_shape(rng: random.Random, graph: GraphProto) -> None:
    shape = rng.choice([*graph.input, *graph.output]).type.tensor_type.shape
    if shape.dim:
        shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice(INTS)


def _nodes(rng: random.Random, graph: GraphProto) -> None:
    """One less, one twice, or all in another order."""
    nodes = list(graph.node)
    turn = rng.randrange(3)
    if turn == 0:
        nodes.remove(rng.choice(nodes))
    elif turn == 1:
        nodes.append(rng.choice(nodes))
    else:
        rng.shuffle(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def _outputs(rng: random.Random, graph: GraphProto) -> None:
    """An output that nobody meant, or none."""
    if graph.output and rng.random() < 0.3:
        del graph.output[rng.randrange(len(graph.output))]
    else:
        node = rng.choice(graph.node)
        graph.output.add(name=rng.choice([*node.input, *node.output, "x"]))


INTS = (0, -1, 1, 2, 3, 7, 2**31, 2**40, 2**63 - 1, -(2**63))
OPS = (
    "Conv", "Gemm", "MatMul", "Add", "Clip", "Concat", "Reshape", "Transpose", "Resize", "MaxPool", "Softmax", "Split",
    "BatchNormalization", "Identity", "Dropout", "Constant", "Shape", "Gather", "Slice", "ConvTranspose", "Loop", "If",
    "LSTM", "QuantizeLinear", "Expand", "Pad", "Where", "Cast", "ReduceMean", "LayerNormalization", "Nobody", "",
)  # fmt: skip
CHANGES = (_relink, _rename_op, _attribute, _dims, _element_type, _input_shape, _nodes, _outputs)
RENAMES = [
    (b"Conv", b"Gemm"), (b"Mul", b"Add"), (b"Add", b"Pow"), (b"Concat", b"Expand"), (b"Reshape", b"Flatten"),
    (b"Relu", b"Loop"), (b"Relu", b"Clip"), (b"pads", b"pbds"), (b"group", b"grouq"), (b"axis", b"axes"),
    (b"Conv", b"Scan"), (b"MaxPool", b"Dropout"), (b"Sigmoid", b"Softmax"), (b"Split", b"Shape"), (b"perm", b"pern"),
]  # fmt: skip
DAMAGES: tuple[Damage, ...] = (_flip, _header, _cut, _hole, _double, _splice, _text, *[_structure] * 6)


def damaged(seed: int, turn: int, models: Sequence[bytes]) -> bytes:
    """The bytes of one turn: they depend on nothing but the arguments."""
    rng = random.Random(f"{seed} {turn}")
    data = bytearray(rng.choice(models))
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            rng.choice(DAMAGES)(rng, data, models)
    return bytes(data)


def survive(data: bytes, path: Path) -> str:
    """`plan`, `model` (nothing to plan) or `refused`."""
    path.write_bytes(data)
    try:
        model = load(path)
        canonicalise(model)
        view = model.view()
        to_bytes(model)
    except QdslError:
        return "refused"
    try:
        decide(loads(RECIPE, name="fuzz.q").recipe, view, "ort", float_bytes=len(data), diags=Diagnostics())
    except QdslError:
        return "model"
    return "plan"


def run(seed: int, turns: Sequence[int], models: Sequence[bytes], path: Path, answer: Any) -> None:
    """In a process of its own: tells before each turn which it is, then what came of it."""
    for turn in turns:
        answer.send(("turn", turn))
        try:
            answer.send(("done", survive(damaged(seed, turn, models), path)))
        except BaseException:
            answer.send(("fault", traceback.format_exc()))
    answer.close()
