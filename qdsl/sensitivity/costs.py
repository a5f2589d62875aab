"""How much of a network runs again when a unit changes."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.graph.view import GraphView, NodeView
from qdsl.predict.macs import macs
from qdsl.sensitivity.units import Unit

# What one number that a node writes costs beside a multiplication, where nothing is fused: moved, not computed.
_PER_ELEMENT = 8


def rests(view: GraphView, units: Sequence[Unit]) -> list[float]:
    """For each unit what runs from it to the outputs, as a share of the whole."""
    costs = [_cost(view, node) for node in view.nodes]
    whole = sum(costs) or 1.0
    found = []
    for unit in units:
        first, touched, total = set(unit.nodes), set[str](), 0.0
        for node, cost in zip(view.nodes, costs, strict=True):
            if node.name in first or not touched.isdisjoint(node.inputs):
                touched.update(name for name in node.outputs if name)
                total += cost
        found.append(total / whole)
    return found


def _cost(view: GraphView, node: NodeView) -> float:
    written = sum(view.tensors[name].elements or 0 for name in node.outputs if name)
    return float((macs(view, node) or 0) + _PER_ELEMENT * written)
