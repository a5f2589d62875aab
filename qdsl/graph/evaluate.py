"""One node computed on constants by ONNX's reference implementation, its size known before."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from qdsl.graph.constants import Array, Lazy, to_proto
from qdsl.graph.dtypes import byte_count, number_of
from qdsl.graph.exporter import ir_for, node_proto
from qdsl.graph.importer import set_type

_READ_FOR_SHAPES = 2**20  # bytes; larger constants are no shapes


def output_bytes(node: gs.Node, inputs: Sequence[Lazy | None], opset: int) -> int | None:
    """Bytes of all outputs together, by the shapes in the graph or, where those are open, by inference on this node."""
    if node.op == "Range":
        return _range_bytes(inputs)
    if node.op == "NonZero" and inputs[0] is not None:  # at most: a coordinate of 8 bytes per axis and element
        return 8 * len(inputs[0].shape) * prod(inputs[0].shape)
    if any(t.dtype is None or not _static(t.shape) for t in node.outputs if t.name):
        _infer_outputs(node, inputs, opset)
    sizes = [
        byte_count(number_of(t.dtype), prod(t.shape)) if t.dtype is not None and _static(t.shape) else None
        for t in node.outputs
        if t.name
    ]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _range_bytes(inputs: Sequence[Lazy | None]) -> int | None:
    """Counted in Python's integers: shape inference and numpy both overflow to nothing near 2^63."""
    present = [value for value in inputs if value is not None and prod(value.shape) == 1]
    if len(present) != 3:
        return None
    start, limit, delta = (value.load().reshape(()).item() for value in present)
    steps = (limit - start) / delta if delta else np.nan
    return max(0, int(steps) + 1) * present[0].nbytes if np.isfinite(steps) else None


def _static(shape: Sequence[int | str | None] | None) -> bool:
    return shape is not None and all(isinstance(dim, int) for dim in shape)


def _infer_outputs(node: gs.Node, inputs: Sequence[Lazy | None], opset: int) -> None:
    """Types of the node's outputs from the values of its inputs; what cannot be inferred stays open."""
    named = [(tensor.name, value) for tensor, value in zip(node.inputs, inputs, strict=True) if value is not None]
    types = {name: onnx.helper.make_tensor_type_proto(value.element_type, value.shape) for name, value in named}
    data = {name: to_proto(name, value) for name, value in named if value.nbytes <= _READ_FOR_SHAPES}
    try:
        schema = onnx.defs.get_schema(node.op, opset)
        found = onnx.shape_inference.infer_node_outputs(schema, node_proto(node), types, data)
    except Exception:  # the C++ side throws several unrelated types; the node is then judged by its inputs alone
        return
    for tensor in node.outputs:
        if tensor.name in found:
            set_type(tensor, found[tensor.name])


def one_node_model(node: gs.Node, opset: int) -> ModelProto:
    """A model that is nothing but a copy of `node`: it stays as it is when the graph changes."""
    proto = ModelProto(ir_version=ir_for(opset, 0))
    proto.opset_import.add(domain="", version=opset)
    proto.graph.node.append(node_proto(node))
    for name in dict.fromkeys(tensor.name for tensor in node.inputs if tensor.name):
        proto.graph.input.add(name=name)
    for tensor in node.outputs:
        if tensor.name:
            proto.graph.output.add(name=tensor.name)
    return proto


def evaluate(proto: ModelProto, inputs: Sequence[Lazy | None]) -> list[Array]:
    """Run a model of one node on constants; values in the order of the node's outputs."""
    given = {name: value for name, value in zip(proto.graph.node[0].input, inputs, strict=True) if value is not None}
    feeds = {name: np.asarray(value.load()) for name, value in given.items()}  # one that is read twice is loaded once
    with np.errstate(all="ignore"):
        return [np.asarray(array) for array in ReferenceEvaluator(proto).run(None, feeds)]
