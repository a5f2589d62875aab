"""The Q/DQ pairs that the runtime adds by itself before it fuses: over operators that only move data.

A QuantizeLinear moves up through such an operator to what it reads, a DequantizeLinear moves down to what it writes, as
long as nothing else uses the value on the way. The operators stand in the table's `spread`.
"""

from __future__ import annotations

from dataclasses import replace

from qdsl.capability import Capability
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.edges import Edges, Quant
from qdsl.spec import Granularity


def spread(
    view: GraphView, edges: Edges, capability: Capability, past: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Adds the runtime's own pairs to `edges`. Linear: each step quantizes one more tensor. `past` are nodes that took
    up another of their kind after that: a pair that stood between the two stands before both. Returns the tensors that
    got a pair from above."""
    reached: list[str] = []
    found = _quantizable(view, edges)
    while found:
        for name in found:
            for quant in list(edges.written[name].quants) if name in edges.written else ():
                _up(view, edges, capability, name, quant)
        reached += [end for name in found for end in _down(view, edges, frozenset(capability.spread), name)]
        found = _past_outputs(view, edges, capability, past)
    return tuple(reached)


def _quantizable(view: GraphView, edges: Edges) -> list[str]:
    """The tensors that a node, the caller or a file writes: the last kind are stored constants, and what comes in
    integers."""
    read = (view.nodes[use.node].inputs[use.port] for use in edges.reads)
    return list(dict.fromkeys((*edges.written, *read)))


def _up(view: GraphView, edges: Edges, capability: Capability, tensor: str, quant: Quant) -> None:
    """Quantizes what movers above `tensor` read, as long as they alone read it."""
    while (
        quant.granularity is Granularity.PER_TENSOR and quant.constant and edges.written[tensor].only_quant is not None
    ):
        mover = view.producer(tensor)
        if mover is None or mover.op not in capability.spread or not mover.inputs or mover.outputs[0] != tensor:
            return
        source, use = mover.inputs[0], Use(mover.index, 0)
        if source not in edges.written or not _may_rise(view, edges, source, use):
            return
        quant = _new(quant)
        edges.quantize(source, quant, [use])
        tensor = source


def _may_rise(view: GraphView, edges: Edges, tensor: str, use: Use) -> bool:
    """Whether a pair goes in where a mover reads: on a graph input always, else where nobody else reads the value."""
    written = edges.written[tensor]
    return use in written.floats if view.producer(tensor) is None else written.only_float == use


def _past_outputs(view: GraphView, edges: Edges, capability: Capability, past: frozenset[str]) -> list[str]:
    """Once all pairs are spread, one more goes in where a mover of `spread_past_outputs` alone reads a graph output:
    the caller then reads the dequantized value, too, unless the pair was there before. Returns where."""
    found: list[str] = []
    clear: set[str] = set()
    for mover in view.nodes:
        if mover.op not in capability.spread_past_outputs or not mover.outputs or not mover.inputs:
            continue
        quant, source = edges.written[mover.outputs[0]].only_quant, mover.inputs[0]
        if quant is None or not quant.constant or source not in edges.written or view.producer(source) is None:
            continue
        written, use = edges.written[source], Use(mover.index, 0)
        alone = written.graph_output and written.edges == 1 and use in written.floats
        if alone and not _meets(view, edges, capability, source, clear):
            edges.quantize(source, quant, [use], to_output=mover.name not in past)
            found.append(source)
    return found


def _meets(view: GraphView, edges: Edges, capability: Capability, tensor: str, clear: set[str]) -> bool:
    """Whether a mover of `spread_past_outputs` comes down to the one that reads `tensor`: the two then read the same.
    `clear` are tensors above which there is none, and gets more."""
    seen, above = {tensor}, [tensor]
    while above:
        writer = view.producer(above.pop())
        if writer is None or writer.op not in capability.moved_through:
            continue
        floats = [name for port, name in enumerate(writer.inputs) if Use(writer.index, port) not in edges.reads]
        if any(_comes_down(view, edges, capability, name) for name in floats):
            return True
        above += [name for name in floats if name not in seen and name not in clear]
        seen.update(floats)
    clear |= seen
    return False


def _comes_down(view: GraphView, edges: Edges, capability: Capability, tensor: str) -> bool:
    """Whether a mover wrote `tensor` for nodes alone, which it may then pass; for the caller it has to stay."""
    mover = view.producer(tensor)
    return mover is not None and mover.op in capability.spread_past_outputs and not edges.written[tensor].graph_output


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
    return has_reader and not out.quants and quant.granularity is Granularity.PER_TENSOR and quant.constant


def _write_through(edges: Edges, mover: NodeView, quant: Quant) -> list[Use]:
    """Quantizes what `mover` writes like what it reads; returns the readers."""
    out = edges.written[mover.outputs[0]]
    readers = list(out.floats)
    edges.quantize(mover.outputs[0], _new(quant), readers, to_output=out.graph_output)
    return readers


def _new(quant: Quant) -> Quant:
    """The pair that the runtime puts in: nobody else has its integers, as others may have those of `quant`."""
    return replace(quant, bare=False) if quant.bare else quant
