"""What TensorRT reads in integers though nothing dequantizes it right there: it carries a pair over what only moves
values.

Held against TensorRT-RTX 1.7.1: a Conv computes in int8 behind every operator of `qdsl.graph.moves` that was tried, in
chains too, if all that it joins has one scale; behind a Mul or a Div by one constant number, which becomes part of the
scale; and behind a Pad of zeros right in front of it, but of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import once_per_audit
from qdsl.graph.moves import is_data_port
from qdsl.graph.neighbours import CONVS, scalar
from qdsl.graph.view import GraphView, NodeView

_FILL = 2  # the port of a Pad
_SCALES = frozenset({"Mul", "Div"})


@once_per_audit
def carried(audited: Audited) -> Mapping[str, str]:
    """Tensors that hold values of a pair as they are, its DequantizeLinear's own among them, by name: with the `key`
    of its parameters."""
    keys = {name: record.parameters.key for record in audited.finished.tensors for name in record.dequantizers}
    found: dict[str, str] = {}
    for node in audited.finished.view.nodes:
        key = keys.get(node.name) or _of_all(node, found) or _scaled(audited.finished.view, node, found)
        if key and node.outputs:
            found.update(dict.fromkeys(filter(None, node.outputs), key))
    return found


def reads_carried(audited: Audited, node: NodeView, port: int) -> bool:
    """Whether TensorRT has `node` read the integers of a pair at that port."""
    known, view = carried(audited), audited.finished.view
    tensor = node.inputs[port]
    before = view.producer(tensor)
    if before is not None and before.op == "Pad" and node.op in CONVS and _pads_zeros(view, before):
        tensor = before.inputs[0]
    return tensor in known


def _of_all(node: NodeView, found: Mapping[str, str]) -> str | None:
    """The one key of everything that a node moves."""
    keys = {found.get(name) for port, name in enumerate(node.inputs) if is_data_port(node, port)}
    return keys.pop() if len(keys) == 1 else None


def _scaled(view: GraphView, node: NodeView, found: Mapping[str, str]) -> str | None:
    """The key behind a product with one constant number: that of what goes in, and the number."""
    if node.op not in _SCALES or node.domain or len(node.inputs) != 2:
        return None
    port = 1 if node.op == "Mul" and node.inputs[1] in found else 0
    key, by = found.get(node.inputs[port]), scalar(view, node.inputs[1 - port])
    return None if key is None or by is None else f"{key} {node.op} {by!r}"


def _pads_zeros(view: GraphView, pad: NodeView) -> bool:
    """Whether what stands at the edges is 0 or copied."""
    filled = len(pad.inputs) > _FILL and bool(pad.inputs[_FILL])
    return not filled or scalar(view, pad.inputs[_FILL]) == 0
