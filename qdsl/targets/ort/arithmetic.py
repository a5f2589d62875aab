"""The artifact as this CPU runs it, beside the arithmetic that its file writes down.

The same file is run twice: with the runtime's own kernels, and with every operator as it is written (no graph
optimization: QuantizeLinear, DequantizeLinear and float operators between them). What the two share is quantization;
where they part, a kernel computes something else. The integer operators that a dynamic build writes are kernels of the
CPU in either run, so the second takes their products as uint8 times uint8, which every CPU adds exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from qdsl.targets.agreement import Agreement
from qdsl.targets.ort.exposing import FLOAT, QUANTIZED, Arrays, Exposing, Source
from qdsl.targets.ort.layers import Layer
from qdsl.targets.results import Arithmetic, Parting

# Tensors inside the graph that agree this well are the same up to the order in which values are rounded.
_SAME_DB = 43.0
_SHOWN = 3
_OFFSET = 128  # from int8 to uint8
_INTEGER_PRODUCTS = ("ConvInteger", "MatMulInteger")


@dataclass(frozen=True, slots=True)
class Kept:
    """One sample's inputs, and what the float model and the artifact write for it: the tensors asked for, in order."""

    arrays: Arrays
    expected: Sequence[NDArray[Any]]
    ran: Sequence[NDArray[Any]]


def arithmetic(
    reference: Source, quantized: Source, names: Sequence[str], inner: Sequence[str], kept: Sequence[Kept]
) -> tuple[Arithmetic, ...]:
    """How each of the outputs `names`, which `kept` has, and of the tensors `inner` agrees with the float model as
    written and as it runs. Nothing for no samples."""
    everything = [*names, *inner]
    if not kept or not everything:
        return ()
    written = _written(quantized, inner)
    beside = (Exposing(FLOAT, reference, inner), Exposing(QUANTIZED, quantized, inner)) if inner else None
    totals = [(Agreement(), Agreement(), Agreement()) for _ in everything]
    for sample in kept:
        expected, ran = list(sample.expected), list(sample.ran)
        if beside is not None:
            expected += beside[0].run(inner, sample.arrays)
            ran += beside[1].run(inner, sample.arrays)
        meant = written.run(everything, sample.arrays)
        for (planned, here, apart), x, y, z in zip(totals, expected, ran, meant, strict=True):
            planned.add(x, z)
            here.add(x, y)
            apart.add(z, y)
    return tuple(
        Arithmetic(name, planned.sqnr_db, here.sqnr_db, apart.sqnr_db, len(kept))
        for name, (planned, here, apart) in zip(everything, totals, strict=True)
    )


def partings(quantized: Source, inner: Sequence[Layer], kept: Sequence[Arrays]) -> Iterator[Parting]:
    """The first tensors inside the graph in which the two runs part, in graph order; none where it has none inside."""
    if not inner:
        return
    doubles = [layer.exposed for layer in inner]
    running, written = Exposing(QUANTIZED, quantized, doubles), _written(quantized, doubles)
    totals = [Agreement() for _ in inner]
    for arrays in kept:
        for total, layer, meant, ran in zip(
            totals, inner, written.run(doubles, arrays), running.run(doubles, arrays), strict=True
        ):
            total.add(layer.values(meant), layer.values(ran))
    parted = [
        Parting(layer.tensor, total.sqnr_db)
        for layer, total in zip(inner, totals, strict=True)
        if total.sqnr_db is not None and total.sqnr_db < _SAME_DB and total.sqnr_db != math.inf
    ]
    yield from parted[:_SHOWN]


def _written(source: Source, expose: Sequence[str]) -> Exposing:
    return Exposing(QUANTIZED, replace(source, proto=exact_products(source.proto)), expose, as_written=True)


def exact_products(proto: ModelProto) -> ModelProto:
    """`proto` with the factors of each ConvInteger and MatMulInteger as uint8: integers and zero points plus 128, which
    changes no product. The model itself where it has none."""
    if not any(node.op_type in _INTEGER_PRODUCTS for node in proto.graph.node):
        return proto
    exact = ModelProto()
    exact.CopyFrom(proto)
    graph = exact.graph
    signed = _signed(exact)
    nodes: list[NodeProto] = []
    graph.initializer.append(numpy_helper.from_array(np.asarray(_OFFSET, np.int32), _named("offset", 0)))
    graph.initializer.append(numpy_helper.from_array(np.asarray(_OFFSET, np.uint8), _named("middle", 0)))
    for number, node in enumerate(graph.node):
        if node.op_type in _INTEGER_PRODUCTS:
            node.input.extend([""] * (4 - len(node.input)))
            for port in (0, 1):
                if node.input[port] in signed:
                    nodes += _moved(node, port, number)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return exact


def _signed(proto: ModelProto) -> set[str]:
    """Tensors that hold int8, as far as constants and the operators of a dynamic build say it."""
    found = {tensor.name for tensor in proto.graph.initializer if tensor.data_type == TensorProto.INT8}
    for info in (*proto.graph.value_info, *proto.graph.input):
        if info.type.tensor_type.elem_type == TensorProto.INT8:
            found.add(info.name)
    for node in proto.graph.node:
        zero = node.op_type == "QuantizeLinear" and len(node.input) > 2 and node.input[2] in found
        cast = node.op_type == "Cast" and any(a.name == "to" and a.i == TensorProto.INT8 for a in node.attribute)
        if zero or cast:
            found.update(node.output)
    return found


def _moved(node: NodeProto, port: int, number: int) -> list[NodeProto]:
    """Nodes that make uint8 of the int8 factor at `port` and of its zero point, and `node` reading those."""
    made = _plus_128(node.input[port], f"{number}_{port}")
    zero = node.input[port + 2]
    if zero:
        made += _plus_128(zero, f"{number}_{port + 2}")
        node.input[port + 2] = made[-1].output[0]
    else:
        node.input[port + 2] = _named("middle", 0)
    node.input[port] = made[2].output[0]
    return made


def _plus_128(name: str, number: str) -> list[NodeProto]:
    wide, moved, back = (_named(word, number) for word in ("wide", "moved", "unsigned"))
    return [
        helper.make_node("Cast", [name], [wide], to=TensorProto.INT32),
        helper.make_node("Add", [wide, _named("offset", 0)], [moved]),
        helper.make_node("Cast", [moved], [back], to=TensorProto.UINT8),
    ]


def _named(word: str, number: object) -> str:
    return f"qdsl.exact.{word}.{number}"
