"""The Q/DQ pairs that the runtime adds by itself before it fuses: over operators that only move data.

A QuantizeLinear moves up through such an operator to what it reads, a DequantizeLinear moves down to what it writes, as
long as nothing else uses the value on the way. The operators stand in the table's `spread`.
"""

from __future__ import annotations

from qdsl.capability import Capability
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.plan.predict_edges import Edges, Quant
from qdsl.spec import Granularity


def spread(view: GraphView, edges: Edges, capability: Capability) -> tuple[str, ...]:
    """Adds the runtime's own pairs to `edges`. Linear: each step quantizes one more tensor. Returns the tensors that
    got a pair from above."""
    movers = frozenset(capability.spread)
    for name in list(edges.written):
        for quant in list(edges.written[name].quants):
            _up(view, edges, capability, name, quant)
    return tuple(found for name in list(edges.written) for found in _down(view, edges, movers, name))


def _up(view: GraphView, edges: Edges, capability: Capability, tensor: str, quant: Quant) -> None:
    """Quantizes what movers above `tensor` read, as long as they alone read it."""
    while quant.granularity is Granularity.PER_TENSOR and edges.written[tensor].only_quant is not None:
        mover = view.producer(tensor)
        if mover is None or mover.op not in capability.spread or mover.outputs[0] != tensor:
            return
        source, use = mover.inputs[0], Use(mover.index, 0)
        if source not in edges.written or not _may_rise(view, edges, capability, mover, use):
            return
        edges.quantize(source, quant, [use], to_output=edges.written[source].graph_output)
        tensor = source


def _may_rise(view: GraphView, edges: Edges, capability: Capability, mover: NodeView, use: Use) -> bool:
    """Whether a pair goes in where `mover` reads: on a graph input always, else where nobody else reads the value."""
    source = edges.written[mover.inputs[0]]
    if view.producer(mover.inputs[0]) is None:
        return use in source.floats
    if len(source.floats) != 1 or use not in source.floats or source.quants:
        return False
    return not source.graph_output or mover.op in capability.spread_past_outputs


def _down(view: GraphView, edges: Edges, movers: frozenset[str], tensor: str) -> list[str]:
    """Spreads the pairs on `tensor` over the operators that read them, and from there on; returns where to."""
    reached = []
    open_uses = [use for use in view.tensors[tensor].uses if use in edges.reads]
    while open_uses:
        use = open_uses.pop()
        mover, quant = view.nodes[use.node], edges.reads[use]
        if mover.op in movers and use.port == 0 and _takes_pair(edges, mover, quant):
            reached.append(mover.outputs[0])
            open_uses += _write_through(edges, mover, quant)
    return reached


def _takes_pair(edges: Edges, mover: NodeView, quant: Quant) -> bool:
    out = edges.written[mover.outputs[0]]
    has_reader = bool(out.floats) or out.graph_output
    return has_reader and not out.quants and quant.granularity is Granularity.PER_TENSOR


def _write_through(edges: Edges, mover: NodeView, quant: Quant) -> list[Use]:
    """Quantizes what `mover` writes like what it reads; returns the readers."""
    out = edges.written[mover.outputs[0]]
    readers = list(out.floats)
    edges.quantize(mover.outputs[0], quant, readers, to_output=out.graph_output)
    return readers
