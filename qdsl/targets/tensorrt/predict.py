"""Says, per node, what TensorRT computes in int8, from the plan or a file's edges and the target's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from qdsl.capability import COMPUTE, Capability, Row
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.carried import carry
from qdsl.predict.edges import Edges
from qdsl.predict.rules import judge
from qdsl.spec import DTYPES, Granularity
from qdsl.spec.plan import FLOAT8_KERNEL, Prediction

_FLOAT8 = DTYPES["float8"]
_WIDE = 8
# Elements of the kernel of a Conv in float8, at most: release notes of TensorRT 10.13.3; measured with TensorRT-RTX.
MOST_TAPS = 32


def predict_edges(view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
    """The prediction for every node of `view`, by name, in graph order. `edges` is changed: what TensorRT carries over
    nodes that only move values is put in, what it does not take for a pair is left out. Linear in the size of the
    graph."""
    carry(view, edges)
    lost = {}
    for node in view.nodes:
        row = capability.row_for(node, view)
        because = _loses(node, row, view, edges, capability) if row.kind == COMPUTE else ""
        if because:
            lost[node.name] = Prediction("float", node.op, row.name, because)
    judged = judge(view, edges, capability)
    return {name: lost.get(name) or _typed(name, found, view, edges, capability) for name, found in judged.items()}


def _typed(name: str, found: Prediction, view: GraphView, edges: Edges, capability: Capability) -> Prediction:
    """`found`, with the type that the kernel multiplies where that is float8."""
    node = view.node(name)
    quant = edges.reads.get(Use(node.index, 0))
    if found.runs != "integer" or found.float_products or quant is None or quant.dtype is not _FLOAT8:
        return found
    return replace(found, kernel=f"{node.op}{FLOAT8_KERNEL}", because=capability.reasons["float8"])


def _loses(node: NodeView, row: Row, view: GraphView, edges: Edges, capability: Capability) -> str:
    """Why a node with pairs on every input computes in float all the same; "" where it does not."""
    reasons: Mapping[str, str] = capability.reasons
    types = product_types(node, row, view, edges)
    if len(types) > 1:
        return reasons["mixed_product"].format(types=" by ".join(types))
    if types == (_FLOAT8.name,) and taps(node, view) > MOST_TAPS:
        return reasons["float8_taps"].format(most=MOST_TAPS, taps=taps(node, view))
    weights = row.weight_ports(node, view)
    read = (edges.reads.get(Use(node.index, port)) for port in (*row.activation_ports(node, view), *weights))
    if any(quant is not None and not quant.even for quant in read):
        return reasons["zero_moved"]
    for port in row.activation_ports(node, view):
        quant = edges.reads.get(Use(node.index, port))
        if quant is not None and quant.granularity is not Granularity.PER_TENSOR:
            return reasons["many_scales"]
        if quant is not None and not quant.scalar:
            return reasons["vector_scale"]
    for port in weights:
        quant = edges.reads.get(Use(node.index, port))
        if quant is None or quant.granularity is not Granularity.PER_CHANNEL or quant.axis is None:
            continue
        if quant.axis != _channels(node, port, row, view):
            return reasons["weight_axis"]
    return ""


def taps(node: NodeView, view: GraphView) -> int:
    """How many weights a Conv has per channel of its input: the elements of its kernel; 0 where that is not known."""
    shape = view.tensors[node.inputs[1]].shape if node.op == "Conv" else None
    return prod(size for size in shape[2:] if isinstance(size, int)) if shape is not None else 0


def product_types(node: NodeView, row: Row, view: GraphView, edges: Edges) -> tuple[str, ...]:
    """The types that `node` would multiply with each other, each once, where all that it multiplies is quantized, and
    not in 4 bits, which are widened first."""
    ports = (*row.activation_ports(node, view), *row.weight_ports(node, view))
    quants = [edges.reads.get(Use(node.index, port)) for port in ports]
    if any(quant is None or quant.dtype.bits < _WIDE for quant in quants):
        return ()
    return tuple(dict.fromkeys(quant.dtype.name for quant in quants if quant is not None))


def _channels(node: NodeView, port: int, row: Row, view: GraphView) -> int:
    """The axis of output channels of the weight at `port`: of a MatMul the last one."""
    shape = view.tensors[node.inputs[port]].shape
    if node.op == "MatMul" and shape:
        return len(shape) - 1
    return row.channel_axis.of(node) if row.channel_axis is not None else 0
