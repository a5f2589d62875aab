"""Tensors that share one scale, compared by their measured ranges: who keeps too few steps of it.

Bound: a sixteenth of the scheme's levels, 16 of 256. There a bell-shaped tensor keeps about 15 dB of its own signal,
24 dB less than under a scale of its own. Measured on YOLOv8n: joins that do no harm leave each input 85 steps or more,
boxes and scores under one scale leave the scores 0.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qdsl.calibrate import Ranges
from qdsl.graph import Model
from qdsl.graph.moves import source
from qdsl.graph.view import GraphView
from qdsl.passes.qdq_parameters import activation_parameters
from qdsl.predict.bounds import bounds
from qdsl.quant import limits
from qdsl.spec.plan import Plan, TensorPlan

SHARE = 16
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Member:
    """One tensor under a shared scale: its range in real values, and how many steps of the scale that is."""

    tensor: str
    low: float
    high: float
    steps: float


@dataclass(frozen=True, slots=True)
class Disparity:
    """A scale of which some tensors use less than 1 in SHARE of its `levels`. `group` is its name in the plan, `joins`
    the Concats that put their inputs under it, `step` its size in real values, `starved` sorted by steps, `widest` the
    tensor that needs most of it."""

    group: str
    joins: tuple[str, ...]
    step: float
    levels: int
    starved: tuple[Member, ...]
    widest: Member


def disparities(plan: Plan, model: Model, view: GraphView, ranges: Ranges) -> tuple[Disparity, ...]:
    """Every scale of `plan` that starves a tensor, by the order of its first tensor's name. `model` is canonical."""
    tensors = [t for t in plan.tensors if t.scheme.dtype.integer and t.calibration.method != "dynamic"]
    parameters = activation_parameters(tensors, ranges, view, model)
    steps = {name: float(found.scale) for name, found in parameters.items()}
    known = _Known(plan, view, ranges)
    joins = _joins(tensors, view)
    found = (
        _disparity(members, [n for n in joins if joins[n] == name], steps[name], known)
        for name, members in sorted(_groups(tensors).items())
    )
    return tuple(one for one in found if one is not None)


def _groups(tensors: list[TensorPlan]) -> dict[str, list[TensorPlan]]:
    found: dict[str, list[TensorPlan]] = {}
    for tensor in tensors:
        found.setdefault(tensor.group, []).append(tensor)
    return found


def _joins(tensors: list[TensorPlan], view: GraphView) -> dict[str, str]:
    """Concats whose output is stored as integers, with its group."""
    group = {tensor.tensor: tensor.group for tensor in tensors}
    return {n.name: group[n.outputs[0]] for n in view.nodes if n.op == "Concat" and n.outputs[0] in group}


class _Known:
    """The ranges of tensors: measured, by hand, taken over from the tensor they copy, or bounded by the graph."""

    def __init__(self, plan: Plan, view: GraphView, ranges: Ranges) -> None:
        self.view = view
        self._measured: dict[str, Span] = {name: (ranges.low[name], ranges.high[name]) for name in ranges.low}
        self._bounds: Mapping[str, Span] | None = None
        for tensor in plan.tensors:
            asked = tensor.calibration
            if asked.low is not None and asked.high is not None and tensor.observe:
                self._measured[tensor.tensor] = (asked.low, asked.high)

    def span(self, tensor: str) -> Span | None:
        """The range of `tensor`, at least as wide as it really is; None when nothing is known."""
        at = tensor
        while at not in self._measured:
            node = self.view.producer(at)
            origin = None if node is None else source(node)
            if origin is None:
                return self._bounded(tensor)
            at = origin
        return self._measured[at]

    def _bounded(self, tensor: str) -> Span | None:
        if self._bounds is None:
            self._bounds = bounds(self.view)
        low, high = self._bounds.get(tensor, (float("-inf"), float("inf")))
        return None if low == float("-inf") or high == float("inf") else (low, high)


def _disparity(members: list[TensorPlan], joins: list[str], step: float, known: _Known) -> Disparity | None:
    view = known.view
    names = [m.tensor for m in members if m.observe]
    names += [name for node in joins for name in view.node(node).inputs if not view.is_constant(name)]
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        return None
    lowest, highest = limits(members[0].scheme)
    levels = highest - lowest + 1
    spans = ((name, known.span(name)) for name in names)
    found = [_member(name, span, step) for name, span in spans if span is not None]
    starved = tuple(sorted((m for m in found if 0 < m.steps < levels / SHARE), key=lambda m: (m.steps, m.tensor)))
    if not starved:
        return None
    return Disparity(members[0].group, tuple(joins), step, levels, starved, _widest(found, joins, view))


def _member(name: str, span: Span, step: float) -> Member:
    """Steps count from 0, which every scale has to hold."""
    low, high = span
    return Member(name, low, high, (max(high, 0.0) - min(low, 0.0)) / step)


def _widest(found: list[Member], joins: list[str], view: GraphView) -> Member:
    """The tensor that needs most; what a Concat writes only follows from what it reads."""
    written: Iterator[str] = (name for node in joins for name in view.node(node).outputs)
    outputs = set(written)
    causes = [m for m in found if m.tensor not in outputs] or found
    return max(causes, key=lambda m: (m.steps, m.tensor))
