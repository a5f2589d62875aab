"""What TensorRT reads in integers though nothing dequantizes it right there: it carries a pair over what only moves
values.

Held against TensorRT-RTX 1.7.1: a Conv computes in int8 behind every operator of `qdsl.graph.moves` that was tried, in
chains too, if all that it joins has one scale; and behind a Pad of zeros right in front of it, but of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.graph.moves import is_data_port
from qdsl.graph.neighbours import CONVS, scalar
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.edges import Edges, Quant

_FILL = 2  # the port of a Pad


def carry(view: GraphView, edges: Edges) -> None:
    """Put into `edges` what ports of nodes that multiply read so. Linear in the size of the graph."""
    held = _held(view, edges)
    for node in view.nodes:
        for port, name in enumerate(node.inputs):
            use = Use(node.index, port)
            if use not in edges.reads and name:
                found = held.get(_before_padding(view, node, name))
                if found is not None:
                    edges.reads[use] = found


def _held(view: GraphView, edges: Edges) -> Mapping[str, Quant]:
    """Tensors, none of them dequantized, that hold values of one pair as they are, with how these are quantized."""
    found: dict[str, Quant] = {}
    for node in view.nodes:
        quants = {_of(node, port, edges, found) for port in range(len(node.inputs)) if is_data_port(node, port)}
        quant = quants.pop() if len(quants) == 1 else None
        if quant is not None:
            found.update(dict.fromkeys(filter(None, node.outputs), quant))
    return found


def _of(node: NodeView, port: int, edges: Edges, found: Mapping[str, Quant]) -> Quant | None:
    return edges.reads.get(Use(node.index, port)) or found.get(node.inputs[port])


def _before_padding(view: GraphView, node: NodeView, tensor: str) -> str:
    before = view.producer(tensor)
    padded = before is not None and before.op == "Pad" and node.op in CONVS and _pads_zeros(view, before)
    return before.inputs[0] if padded and before is not None else tensor


def _pads_zeros(view: GraphView, pad: NodeView) -> bool:
    """Whether what stands at the edges is 0 or copied."""
    filled = len(pad.inputs) > _FILL and bool(pad.inputs[_FILL])
    return not filled or scalar(view, pad.inputs[_FILL]) == 0
