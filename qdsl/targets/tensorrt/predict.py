"""Says, per node, what TensorRT computes in int8, from the plan or a file's edges and the target's table."""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.capability import COMPUTE, Capability, Row
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.edges import Edges
from qdsl.predict.rules import judge
from qdsl.spec import Granularity
from qdsl.spec.plan import Prediction
from qdsl.targets.tensorrt.carried import carry


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
    return {name: lost.get(name, found) for name, found in judge(view, edges, capability).items()}


def _loses(node: NodeView, row: Row, view: GraphView, edges: Edges, capability: Capability) -> str:
    """Why a node with pairs on every input computes in float all the same; "" where it does not."""
    reasons: Mapping[str, str] = capability.reasons
    weights = row.weight_ports(node, view)
    for port in row.activation_ports(node, view):
        quant = edges.reads.get(Use(node.index, port))
        if quant is not None and quant.granularity is not Granularity.PER_TENSOR:
            return reasons["many_scales"]
    for port in weights:
        quant = edges.reads.get(Use(node.index, port))
        if quant is None or quant.granularity is not Granularity.PER_CHANNEL or quant.axis is None:
            continue
        if quant.axis != _channels(node, port, row, view):
            return reasons["weight_axis"]
    return ""


def _channels(node: NodeView, port: int, row: Row, view: GraphView) -> int:
    """The axis of output channels of the weight at `port`: of a MatMul the last one."""
    shape = view.tensors[node.inputs[port]].shape
    if node.op == "MatMul" and shape:
        return len(shape) - 1
    return row.channel_axis.of(node) if row.channel_axis is not None else 0
