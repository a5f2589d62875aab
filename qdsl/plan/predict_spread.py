"""The Q/DQ pairs that the runtime adds by itself before it fuses: over operators that only move data.

A QuantizeLinear moves up through such an operator to what it reads, a DequantizeLinear moves down to what it writes, as
long as nothing else uses the value on the way. The operators stand in the table's `spread`.
"""

from __future__ import annotations

from qdsl.capability import Capability
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.plan.predict_edges import Edges, Quant
from qdsl.spec import Granularity


def spread(view: GraphView, edges: Edges, capability: Capability) -> None:
    """Adds the runtime's own pairs to `edges`. Linear: each step quantizes one more tensor."""
    movers = frozenset(capability.spread)
    if not movers:
        return
    for name in list(edges.written):
        for quant in list(edges.written[name].quants):
            _up(view, edges, movers, name, quant)
    for name in list(edges.written):
        _down(view, edges, movers, name)


def _up(view: GraphView, edges: Edges, movers: frozenset[str], tensor: str, quant: Quant) -> None:
    while quant.granularity is Granularity.PER_TENSOR and edges.written[tensor].only_quant is not None:
        mover = view.producer(tensor)
        if mover is None or mover.op not in movers or mover.outputs[0] != tensor:
            return
        source, use = mover.inputs[0], Use(mover.index, 0)
        if source not in edges.written or edges.written[source].only_float != use:
            return
        edges.quantize(source, quant, [use])
        tensor = source


def _down(view: GraphView, edges: Edges, movers: frozenset[str], tensor: str) -> None:
    """Spreads the pairs on `tensor` over the operators that read them, and from there on."""
    open_uses = [use for use in view.tensors[tensor].uses if use in edges.reads]
    while open_uses:
        use = open_uses.pop()
        mover, quant = view.nodes[use.node], edges.reads[use]
        if mover.op in movers and use.port == 0:
            open_uses += _write_through(edges, mover, quant)


def _write_through(edges: Edges, mover: NodeView, quant: Quant) -> list[Use]:
    """Quantizes what `mover` writes for its float readers, like what it reads; returns those readers."""
    out = edges.written[mover.outputs[0]]
    readers = list(out.floats)
    if quant.granularity is not Granularity.PER_TENSOR:
        return []
    if out.graph_output and out.edges > 0:
        return []
    if not readers and not out.graph_output:
        return []
    if quant in out.quants:
        known = out.quants.index(quant)
        out.readers[known] += len(readers)
        out.floats = []
        edges.reads.update(dict.fromkeys(readers, quant))
        return readers
    edges.quantize(mover.outputs[0], quant, readers, to_output=out.graph_output)
    return readers
