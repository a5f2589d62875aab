"""What a graph's output went through last: whether its scores are probabilities already."""

from __future__ import annotations

from qdsl.graph.moves import moved
from qdsl.graph.view import GraphView

_SQUASHING = ("Sigmoid", "Softmax", "HardSigmoid")
# What makes other probabilities of probabilities: each as it is in another type, scaled by another, or to a power.
_SCALES = frozenset({"Cast", "Clip", "Mul", "Pow", "Sqrt", "QuantizeLinear", "DequantizeLinear"})
_FURTHEST = 64


def squashed_by(view: GraphView, output: str) -> str:
    """The operator that makes at least a part of `output` probabilities ("Sigmoid", "Softmax", "HardSigmoid"), with
    nothing but carrying and joining behind it; "" where there is none."""
    waiting = [output]
    seen: set[str] = set()
    while waiting and len(seen) < _FURTHEST:
        tensor = waiting.pop(0)
        node = view.producer(tensor)
        if node is None or tensor in seen:
            continue
        seen.add(tensor)
        if node.op in _SQUASHING:
            return node.op
        waiting += [name for name in node.inputs if name] if node.op in _SCALES else moved(node)
    return ""
