"""What a float tensor can hold, from the graph alone: the bounds that calibration can only narrow.

A Relu's output starts at 0, a Sigmoid's lies in [0, 1]. These bounds decide before any data is seen whether a
QuantizeLinear makes a Relu or Clip in front of it redundant; so calibrated ranges must stay inside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from qdsl.graph.moves import MOVES, moved
from qdsl.graph.view import GraphView, NodeView

Interval = tuple[float, float]

_RANDOM = ("Random", "Bernoulli", "Multinomial", "Dropout")
ANYTHING: Interval = (-math.inf, math.inf)
_NOT_NEGATIVE: Interval = (0.0, math.inf)
_FIXED: dict[str, Interval] = {
    "Abs": _NOT_NEGATIVE,
    "Exp": _NOT_NEGATIVE,
    "HardSigmoid": (0.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Softplus": _NOT_NEGATIVE,
    "Sqrt": _NOT_NEGATIVE,
    "Tanh": (-1.0, 1.0),
}
# Each output value lies between some of the first input's values.
_AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})


def union(spans: Iterable[Interval]) -> Interval:
    """The smallest interval around all; everything when there is none."""
    listed = list(spans)
    if not listed:
        return ANYTHING
    return min(low for low, _ in listed), max(high for _, high in listed)


def bounds(view: GraphView) -> dict[str, Interval]:
    """Bounds of every tensor, by name; (-inf, inf) where the graph says nothing. Linear in the size of the graph."""
    known: dict[str, Interval] = {}
    for name, tensor in view.tensors.items():
        if tensor.kind == "constant" and view.small.get(name):
            values = [float(v) for v in view.small[name]]
            known[name] = (min(values), max(values))
        else:
            known[name] = ANYTHING
    for node in view.nodes:
        span, move = bound_of(node, known, view), MOVES.get(node.op)
        for output in node.outputs[:1] if move is not None and move.first else node.outputs:
            known[output] = span
    return known


def bound_of(node: NodeView, known: Mapping[str, Interval], view: GraphView) -> Interval:
    """Bounds of what one node writes, from those of what it reads."""
    spans = [known.get(name, ANYTHING) for name in node.inputs]
    if node.domain or not spans:
        return ANYTHING
    if node.op in _FIXED:
        return _FIXED[node.op]
    if held := moved(node):
        return union(known.get(name, ANYTHING) for name in held)
    if node.op in _AVERAGES:
        return _pooled(node, spans[0])
    rule = _RULES.get(node.op)
    return rule(node, spans, view) if rule else ANYTHING


def _pooled(node: NodeView, span: Interval) -> Interval:
    """An average that counts padding as zeros lies between the values and 0."""
    if node.op == "AveragePool" and node.attrs.get("count_include_pad") == 1:
        return union((span, (0.0, 0.0)))
    return span


def _relu(node: NodeView, spans: list[Interval], view: GraphView) -> Interval:
    return max(spans[0][0], 0.0), max(spans[0][1], 0.0)


def _leaky(node: NodeView, spans: list[Interval], view: GraphView) -> Interval:
    return _NOT_NEGATIVE if spans[0][0] >= 0 else ANYTHING


def _clip(node: NodeView, spans: list[Interval], view: GraphView) -> Interval:
    low, high = clip_limits(node, view) or ANYTHING
    # ONNX Clip: when low > high every value becomes high.
    return (high, high) if low > high else (min(max(spans[0][0], low), high), max(min(spans[0][1], high), low))


def _add(node: NodeView, spans: list[Interval], view: GraphView) -> Interval:
    low, high = sum(s[0] for s in spans), sum(s[1] for s in spans)
    return (low, high) if not (math.isnan(low) or math.isnan(high)) else ANYTHING


def _mul(node: NodeView, spans: list[Interval], view: GraphView) -> Interval:
    return _NOT_NEGATIVE if all(low >= 0 for low, _ in spans) or len(set(node.inputs)) == 1 else ANYTHING


def _resize(node: NodeView, spans: list[Interval], view: GraphView) -> Interval:
    """Cubic interpolation overshoots; the other modes stay between their neighbours."""
    return ANYTHING if node.attrs.get("mode") == "cubic" else spans[0]


_RULES: dict[str, Callable[[NodeView, list[Interval], GraphView], Interval]] = {
    "Add": _add,
    "Clip": _clip,
    "LeakyRelu": _leaky,
    "Mul": _mul,
    "Relu": _relu,
    "Resize": _resize,
}


def clip_limits(node: NodeView, view: GraphView) -> Interval | None:
    """Lower and upper limit of a Clip or Relu; None when a limit is computed at run time."""
    if node.op == "Relu":
        return _NOT_NEGATIVE
    limits = list(ANYTHING)
    for side, name in enumerate(node.inputs[1:3]):
        if not name:
            continue
        if not view.small.get(name):
            return None
        limits[side] = float(view.small[name][0])
    for side, attr in enumerate(("min", "max")):
        value = node.attrs.get(attr)
        if isinstance(value, int | float):
            limits[side] = float(value)
    return limits[0], limits[1]


def fixed_tensors(view: GraphView) -> frozenset[str]:
    """What nodes compute from constants alone: a runtime has it before it runs. Linear in the size of the graph."""
    found: set[str] = set()
    for node in view.nodes:
        read = [name for name in node.inputs if name]
        known = all(name in found or view.is_constant(name) for name in read)
        if read and known and not node.op.startswith(_RANDOM) and not node.bodies:
            found.update(filter(None, node.outputs))
    return frozenset(found)
