"""How far the values of a file's tensors can go at most, as its own scales and weights bound them.

Each pair bounds what is behind it, each operator carries bounds on. What is found is never too narrow: a scale that is
made for much more than this is wasted, whatever the data; and where a scale was made from values that this file can no
longer compute, something before it cuts them off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import once_per_audit, standing
from qdsl.auditing.weights import bias_values, channels
from qdsl.finished.codes import span
from qdsl.graph.view import NodeView
from qdsl.predict.bounds import ANYTHING, Interval, bound_of

_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})
_FLOATS = frozenset({"float32", "float16"})
_LARGEST = 1 << 22  # elements of a constant whose ends are read
_GELU_LOW = -0.17
_SWISH_LOW = -0.2785
_HARD_SWISH_LOW = -0.375


@once_per_audit
def reaches(audited: Audited) -> Mapping[str, Interval]:
    """Bounds of every tensor, integers by the values that they stand for; (-inf, inf) where nothing is known."""
    view = audited.finished.view
    known: dict[str, Interval] = dict.fromkeys(view.tensors, ANYTHING)
    for name, tensor in view.tensors.items():
        if tensor.kind == "constant" and tensor.dtype in _FLOATS:
            known[name] = _ends(audited, name)
    for node in view.nodes:
        found = _of_node(audited, node, known)
        known.update(dict.fromkeys(filter(None, node.outputs), found))
    return known


def _ends(audited: Audited, name: str) -> Interval:
    """The smallest and the largest value of a constant that is no weight; NaN is left out."""
    view = audited.finished.view
    small = view.small.get(name)
    if small:
        numbers = [float(each) for each in small if not math.isnan(float(each))]
        return (min(numbers), max(numbers)) if numbers else ANYTHING
    tensor = view.tensors[name]
    if not 0 < (tensor.elements or 0) <= _LARGEST or any(view.nodes[use.node].op in _PRODUCTS for use in tensor.uses):
        return ANYTHING
    values = audited.finished.model.values(name)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return ANYTHING if math.isnan(low) else (low, high)


def _of_node(audited: Audited, node: NodeView, known: Mapping[str, Interval]) -> Interval:
    record = standing(audited).at.get(node.name)
    if record is not None and node.op in _PAIR:
        held = span(record.parameters)
        return clipped(known.get(node.inputs[0], ANYTHING), held) if held else known.get(node.inputs[0], ANYTHING)
    if record is not None:
        return _written(audited, node)
    if node.op in _PRODUCTS:
        return _product(audited, node, known)
    spans = [known.get(name, ANYTHING) for name in node.inputs]
    rule = None if node.domain or not spans else _RULES.get(node.op)
    found = ANYTHING if rule is None else rule(node, spans)
    return clipped(found, bound_of(node, known, audited.finished.view))


def _written(audited: Audited, node: NodeView) -> Interval:
    """What an operator with scales of its own writes."""
    records = standing(audited).writes.get(node.outputs[0], ()) if node.outputs else ()
    return next(filter(None, (span(each.parameters) for each in records)), ANYTHING)


def clipped(found: Interval, to: Interval) -> Interval:
    """What is left of `found` where values saturate at the ends of `to`."""
    return min(max(found[0], to[0]), to[1]), max(min(found[1], to[1]), to[0])


_PRODUCTS = frozenset({"Conv", "FusedConv", "ConvTranspose", "Gemm", "MatMul"})


def _product(audited: Audited, node: NodeView, known: Mapping[str, Interval]) -> Interval:
    """A Conv may read the zeros of its padding, too."""
    weight = channels(audited).get(node.name)
    if weight is None or node.op == "FusedConv" or any(node.attrs.get(k, 1.0) != 1.0 for k in ("alpha", "beta")):
        return ANYTHING
    low, high = known.get(node.inputs[0 if weight.port else 1], ANYTHING)
    low, high = min(low, 0.0), max(high, 0.0)
    bias = bias_values(audited, node) if node.op != "MatMul" else np.zeros(1, np.float32)
    if bias is None or not bias.size or math.isinf(low) or math.isinf(high) or not weight.above.size:
        return ANYTHING
    lowest, highest = weight.below * high + weight.above * low, weight.above * high + weight.below * low
    ends = _with_bias(lowest, highest, bias.reshape(-1))
    return ANYTHING if any(map(math.isnan, ends)) else ends


def _with_bias(lowest: NDArray[Any], highest: NDArray[Any], bias: NDArray[Any]) -> Interval:
    if bias.size in (1, lowest.size):
        return float((lowest + bias).min()), float((highest + bias).max())
    return float(lowest.min() + bias.min()), float(highest.max() + bias.max())


_Rule = Callable[[NodeView, list[Interval]], Interval]


def _rising(function: Callable[[float], float]) -> _Rule:
    return lambda node, spans: (function(spans[0][0]), function(spans[0][1]))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def _softplus(x: float) -> float:
    return x if x > 30 else math.log1p(math.exp(x))


def _dips(low: float) -> _Rule:
    """x times a share of it that rises with x: never below `low`, and at most x."""
    return lambda node, spans: (low if spans[0][0] < 0 else 0.0, max(spans[0][1], 0.0))


def _mul(node: NodeView, spans: list[Interval]) -> Interval:
    return _hull(a * b if a and b else 0.0 for a in spans[0] for b in spans[1]) if len(spans) == 2 else ANYTHING


def _sub(node: NodeView, spans: list[Interval]) -> Interval:
    return _hull([spans[0][0] - spans[1][1], spans[0][1] - spans[1][0]])


def _div(node: NodeView, spans: list[Interval]) -> Interval:
    low, high = spans[1]
    if low <= 0 <= high or math.isinf(low) or math.isinf(high):
        return ANYTHING
    return _hull(a / b for a in spans[0] for b in (low, high))


def _hull(ends: Iterable[float]) -> Interval:
    listed = list(ends)
    return ANYTHING if any(map(math.isnan, listed)) else (min(listed), max(listed))


def _leaky(node: NodeView, spans: list[Interval]) -> Interval:
    slope = node.attrs.get("alpha", 0.01)
    if not isinstance(slope, float) or not 0 <= slope <= 1:
        return ANYTHING
    low, high = (x if x > 0 else slope * x for x in spans[0])
    return low, high


# Of these the range of what they write follows from that of what they read, end by end.
MONOTONE = frozenset({"Exp", "Gelu", "HardSwish", "LeakyRelu", "Swish", "Tanh"})
_RULES: dict[str, _Rule] = {
    "Div": _div,
    "Erf": _rising(math.erf),
    "Exp": _rising(_exp),
    "Gelu": _dips(_GELU_LOW),
    "HardSwish": _dips(_HARD_SWISH_LOW),
    "LeakyRelu": _leaky,
    "Mul": _mul,
    "Sigmoid": _rising(_sigmoid),
    "Softplus": _rising(_softplus),
    "Sub": _sub,
    "Swish": _dips(_SWISH_LOW),
    "Tanh": _rising(math.tanh),
}
