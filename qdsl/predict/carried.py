"""What TensorRT reads in integers though nothing dequantizes it right there: it carries a pair over what only moves
values.

Held against TensorRT-RTX 1.7.1: a Conv computes in int8 behind every operator of `qdsl.graph.moves` that was tried, in
chains too, if all that it joins has one scale; behind a Mul or a Div by one constant number, which becomes part of the
scale; and behind a Pad of zeros right in front of it, but of nothing else, if nobody else reads what the Pad writes.
Not behind a MaxPool that reads through a pair where another pair stands behind the MaxPool, too: that one moves before
it, and nothing is carried over it then. The predictor and the rules of the audit ask it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from qdsl.graph.moves import is_data_port
from qdsl.graph.neighbours import CONVS, scalar
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.edges import OUTPUT, Edges, Quant

_FILL = 2  # the port of a Pad
_POOL = "MaxPool"
_SCALES, _TWO = frozenset({"Mul", "Div"}), 2


def carry(view: GraphView, edges: Edges) -> None:
    """Put into `edges` what ports of nodes that multiply read so. Linear in the size of the graph."""
    held = _held(view, edges)
    for node in view.nodes:
        for port, name in enumerate(node.inputs):
            use = Use(node.index, port)
            if use not in edges.reads and name:
                pad = _padding(view, node, name)
                found = held.get(name) if pad is None else _of(pad, 0, edges, held)
                if found is not None:
                    edges.reads[use] = found


def _held(view: GraphView, edges: Edges) -> Mapping[str, Quant]:
    """Tensors, none of them dequantized, that hold values of one pair as they are, with how these are quantized."""
    found: dict[str, Quant] = {}
    behind = _quantized_behind(view, edges)
    for node in view.nodes:
        if node.op == _POOL and _stays_behind(node, edges, found, behind):
            continue
        quants = [_of(node, port, edges, found) for port in range(len(node.inputs)) if is_data_port(node, port)]
        alike = len({each.params if each is not None else "" for each in quants}) == 1
        quant = quants[0] if alike else _scaled(view, node, edges, found)
        if quant is not None:
            found.update(dict.fromkeys(filter(None, node.outputs), quant))
    return found


def _scaled(view: GraphView, node: NodeView, edges: Edges, found: Mapping[str, Quant]) -> Quant | None:
    """What a product with one constant number holds: the same integers, in other steps."""
    if node.op not in _SCALES or node.domain or len(node.inputs) != _TWO:
        return None
    port = next((at for at in range(_TWO) if scalar(view, node.inputs[1 - at]) is not None), None)
    quant = None if port is None or (port and node.op == "Div") else _of(node, port, edges, found)
    if port is None or quant is None:
        return None
    by = scalar(view, node.inputs[1 - port])
    return replace(quant, params=f"{quant.params} {node.op} {by!r}", step=0.0, reach=None)


def _stays_behind(node: NodeView, edges: Edges, found: Mapping[str, Quant], behind: frozenset[str]) -> bool:
    """Whether a MaxPool keeps its pair before it: it pools integers, but not float8."""
    quant = _of(node, 0, edges, found)
    float8 = quant is not None and not quant.dtype.integer
    return float8 or (Use(node.index, 0) in edges.reads and node.outputs[0] in behind)


def _quantized_behind(view: GraphView, edges: Edges) -> frozenset[str]:
    """Tensors that are quantized for a reader, as they are or behind nodes that only move their values."""
    found = {name for name, written in edges.written.items() if any(map(_is_read, written.quants.values()))}
    for node in reversed(view.nodes):
        if any(name in found for name in node.outputs):
            found.update(name for port, name in enumerate(node.inputs) if is_data_port(node, port))
    return frozenset(found)


def _is_read(uses: Iterable[Use]) -> bool:
    """Whether somebody reads what a QuantizeLinear wrote: in a file of others, perhaps nobody does."""
    return any(use.node >= 0 or use == OUTPUT for use in uses)


def _of(node: NodeView, port: int, edges: Edges, found: Mapping[str, Quant]) -> Quant | None:
    return edges.reads.get(Use(node.index, port)) or found.get(node.inputs[port])


def _padding(view: GraphView, node: NodeView, tensor: str) -> NodeView | None:
    """The Pad of zeros that writes `tensor` for the convolution `node` alone: the two are one."""
    before = view.producer(tensor)
    if before is None or before.op != "Pad" or node.op not in CONVS or not _pads_zeros(view, before):
        return None
    padded = view.tensors[tensor]
    return before if len(padded.uses) == 1 and not padded.is_output else None


def _pads_zeros(view: GraphView, pad: NodeView) -> bool:
    """Whether what stands at the edges is 0 or copied."""
    filled = len(pad.inputs) > _FILL and bool(pad.inputs[_FILL])
    return not filled or scalar(view, pad.inputs[_FILL]) == 0
