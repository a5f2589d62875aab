"""Elementwise operators on distributions: the bins of the output follow from the bins of the input.

Ends of bins are mapped in float64, so the ends of a range may differ from ONNX Runtime's own float32 result in the last
places; within a bin, at most 2**-7 wide, values stay evenly spread.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qdsl.calibrate.histogram import Bins, Distribution, Floats
from qdsl.graph.view import GraphView, NodeView

Map = tuple[str, float, float]
# Where x * sigmoid(x) turns from falling to rising: the root of 1 + x * (1 - sigmoid(x)).
_SILU_TURN = -1.278464542761074


def map_of(view: GraphView, node: NodeView) -> tuple[Map, str] | None:
    """The map that `node` is, and the tensor it maps; None when it is not elementwise in one tensor."""
    if node.domain or not node.inputs:
        return None
    source = node.inputs[0]
    if node.op in ("Relu", "Sigmoid", "Tanh"):
        return (node.op, 0.0, 0.0), source
    if node.op == "LeakyRelu":
        slope = node.attrs.get("alpha", 0.01)
        return (("LeakyRelu", float(slope), 0.0), source) if isinstance(slope, (int, float)) and slope >= 0 else None
    if node.op == "Clip":
        bounds = _bounds(view, node)
        return None if bounds is None else (("Clip", *bounds), source)
    if node.op == "Mul" and len(node.inputs) == 2:
        return _silu(view, *node.inputs)
    return None


def _silu(view: GraphView, a: str, b: str) -> tuple[Map, str] | None:
    for source, gate in ((a, b), (b, a)):
        by = view.producer(gate)
        if by is not None and by.op == "Sigmoid" and by.inputs[0] == source and not by.domain:
            return ("Silu", 0.0, 0.0), source
    return None


def _bounds(view: GraphView, node: NodeView) -> tuple[float, float] | None:
    found = [-np.inf, np.inf]
    for port in (1, 2):
        name = node.inputs[port] if port < len(node.inputs) else ""
        if name:
            values = view.small.get(name, ())
            if len(values) != 1:
                return None
            found[port - 1] = float(values[0])
    for i, word in enumerate(("min", "max")):
        value = node.attrs.get(word)
        if isinstance(value, (int, float)):
            found[i] = float(value)
    return (found[0], found[1]) if found[0] <= found[1] else None


def apply(found: Map, values: Distribution) -> Distribution:
    """The distribution of the map of every value."""
    op, first, second = found
    if op != "Silu":
        return Distribution(tuple(_through(lambda x: _monotone(op, first, second, x), p) for p in values.parts))
    parts = []
    for part in values.parts:
        falling = part.within(-np.inf, _SILU_TURN).picked(part.left < _SILU_TURN)
        parts += [_through(_silu_of, falling), _through(_silu_of, part.picked(part.left >= _SILU_TURN))]
    return Distribution(tuple(p for p in parts if p.counts.size))


def _through(function: Callable[[Floats], Floats], bins: Bins) -> Bins:
    ends = function(bins.left), function(bins.right)
    left, right = np.minimum(*ends), np.maximum(*ends)
    order = np.argsort(left, kind="stable")
    return Bins(left[order], right[order], bins.counts[order])


def _monotone(op: str, first: float, second: float, x: Floats) -> Floats:
    if op == "Relu":
        return np.maximum(x, 0.0)
    if op == "Sigmoid":
        return _sigmoid(x)
    if op == "Tanh":
        return np.tanh(x)
    if op == "LeakyRelu":
        return np.where(x < 0, x * first, x)
    return np.clip(x, first, second)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _silu_of(x: Floats) -> Floats:
    return x * _sigmoid(x)
