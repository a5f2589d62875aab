"""Nodes whose integers the emitter joins as they are: all inputs and the output have one scale (a Concat, say)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qdsl.capability import Capability, Row
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.edges import Edges
from qdsl.spec.plan import NodePlan, Prediction, TensorPlan


def joined(
    view: GraphView, edges: Edges, tensors: Mapping[str, TensorPlan], capability: Capability
) -> dict[str, Prediction]:
    """The prediction for each of them, by name. `edges` are those of the plan alone, `tensors` the plans by tensor:
    what has one group gets one scale. The lowering `concat_integers` decides alike."""
    found = {}
    for node in view.nodes:
        row = capability.row_for(node, view)
        if not row.joins or not _one_scale(node, edges, tensors):
            continue
        if tensors[node.outputs[0]].scheme.dtype in row.joins:
            found[node.name] = Prediction("integer", node.op, row.name, capability.reasons["joined"])
    return found


def joined_nodes(nodes: Iterable[NodePlan], rows: Iterable[Row]) -> frozenset[str]:
    """The names of those that are predicted so, of a plan's nodes beside their rows."""
    found = (node for node, row in zip(nodes, rows, strict=True) if row.joins and node.prediction.kernel == node.op)
    return frozenset(node.node for node in found if node.prediction.runs == "integer")


def lowered_nodes(nodes: Iterable[NodePlan], rows: Iterable[Row]) -> tuple[str, ...]:
    """The names of those that the emitter writes as several nodes, of a plan's nodes beside their rows."""
    found = (node for node, row in zip(nodes, rows, strict=True) if row.lowered)
    return tuple(node.node for node in found if node.prediction.runs == "integer")


def _one_scale(node: NodeView, edges: Edges, tensors: Mapping[str, TensorPlan]) -> bool:
    output = tensors.get(node.outputs[0])
    if output is None or edges.written[output.tensor].only_quant is None or _in_a_body(output):
        return False
    for port, name in enumerate(node.inputs):
        plan = tensors.get(name)
        if plan is None or Use(node.index, port) not in edges.reads or not plan.read_by(node.name, port):
            return False
        if (plan.group, plan.scheme) != (output.group, output.scheme):
            return False
    return True


def _in_a_body(plan: TensorPlan) -> bool:
    """Whether a body reads the tensor by name: that stays the float value."""
    return any(reader.node and reader.port < 0 for reader in plan.readers)
