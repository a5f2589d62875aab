"""Scales that float16 holds only coarsely: below 2^-14 its numbers lie 2^-24 apart, so that a scale which has to be one
of them may be much wider than the range asks for.

Bound: an eighth wider, which costs 1 dB. Of the weights and activations of YOLOv8n, a steel detector and two MobileNets
no scale lies below 2^-14; a channel comes there with weights under 1e-4, a tensor with a range under 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic, Severity
from qdsl.graph import Model
from qdsl.passes.qdq_parameters import activation_parameters
from qdsl.plan import Decisions
from qdsl.quant import float16_scales, weight_parameters
from qdsl.spec.plan import WeightPlan
from qdsl.spec.words import plain

_WIDER = 1.125
_DEAD = 1e6  # times smaller than the largest channel: training has switched it off, and nothing is lost in it
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Coarse:
    """`count` of `of` scales of `tensor` are wider, the worst `times`."""

    tensor: str
    count: int
    of: int
    times: float


def coarse_scales(model: Model, one: Decisions, ranges: Ranges) -> Iterator[Diagnostic]:
    """One warning for all of a plan. `model` is canonical."""
    found = sorted((*_activations(model, one, ranges), *_weights(model, one)), key=lambda each: -each.times)
    if not found:
        return
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    yield Diagnostic(
        "float16-scale",
        f"the scale of `{plain(found[0].tensor)[:80]}`{more} is finer than float16 holds",
        one.context.cascade.mode.span,
        _words(found[0]),
        ("leave what reads it in float32: `keep X in float32`, or `high_precision float32`",),
        tuple(f"{plain(each.tensor)[:80]}: {_words(each)}" for each in found[1:_SHOWN]),
        Severity.WARNING,
    )


def _words(found: _Coarse) -> str:
    which = "its steps are" if found.of == 1 else f"the steps of {found.count} of its {found.of} channels are"
    return f"{which} up to {found.times:.3g} times as wide"


def _activations(model: Model, one: Decisions, ranges: Ranges) -> Iterator[_Coarse]:
    halves = [tensor for tensor in one.plan.tensors if tensor.scheme.float16_scales]
    if not halves:
        return
    exact = [replace(tensor, scheme=replace(tensor.scheme, float16_scales=False)) for tensor in halves]
    for group, params in activation_parameters(exact, ranges, one.context.view, model).items():
        found = _coarse(group, np.asarray(params.scale))
        if found is not None:
            yield found


def _weights(model: Model, one: Decisions) -> Iterator[_Coarse]:
    halves = [weight for weight in one.plan.weights if weight.scheme.float16_scales]
    for weight in {each.tensor: each for each in halves}.values():
        found = _coarse(weight.tensor, _exact(model, weight))
        if found is not None:
            yield found


def _exact(model: Model, weight: WeightPlan) -> NDArray[Any]:
    """The scales that its values ask for."""
    scheme = replace(weight.scheme, float16_scales=False)
    return np.asarray(weight_parameters(model.values(weight.tensor), scheme, weight.axis, weight.tensor).scale)


def _coarse(tensor: str, scales: NDArray[Any]) -> _Coarse | None:
    wider = float16_scales(scales) / scales
    alive = scales > scales.max(initial=0.0) / _DEAD
    count = int(((wider > _WIDER) & alive).sum())
    return _Coarse(tensor, count, scales.size, float(wider[alive].max())) if count else None
