"""What it costs that sums are exact on every CPU that a target names: the channels whose steps are wider for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from qdsl.graph import Model
from qdsl.spec import UNGUARDED
from qdsl.spec.plan import Plan, WeightPlan, Widened
from qdsl.spec.words import count
from qdsl.work.prepared import Prepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Elements of all guarded weights that a plan reads; of larger models it says that they were not looked at.
MOST_ELEMENTS = 1 << 26


def with_widened(prepared: Prepared, plan: Plan) -> Plan:
    """The plan with what its guards cost. Weights are read, unless there are too many."""
    guarded = [weight for weight in plan.weights if weight.guard.pairs]
    if not guarded:
        return plan
    sizes = [prepared.view.tensors[weight.tensor].elements or 0 for weight in guarded]
    if sum(sizes) > MOST_ELEMENTS:
        return replace(plan, open=(*plan.open, _unread(guarded)))
    found = (_cached(prepared, weight) for weight in guarded)
    return replace(plan, widened=tuple(one for one in found if one is not None))


def _unread(guarded: Sequence[WeightPlan]) -> str:
    return f"steps of {count(len(guarded), 'weight')}: up to twice as wide where sums could saturate"


def _cached(prepared: Prepared, weight: WeightPlan) -> Widened | None:
    key = (weight.node, weight.port, weight.scheme, weight.guard)
    if key not in prepared.widened:
        prepared.widened[key] = _widened(prepared.model, weight)
    return prepared.widened[key]


def _widened(model: Model, weight: WeightPlan) -> Widened | None:
    """None for a weight that has no scale: `compile` says why."""
    import numpy as np

    from qdsl.quant import weight_parameters

    value = model.values(weight.tensor)
    if not np.isfinite(value).all() or not prod(value.shape):
        return None
    with_guard, without = (
        np.atleast_1d(weight_parameters(value, weight.scheme, weight.axis, guard=guard).scale).astype(np.float64)
        for guard in (weight.guard, UNGUARDED)
    )
    return Widened(weight.node, weight.port, with_guard.size, *_growth(with_guard / without))


def _growth(ratios: NDArray[np.float64]) -> tuple[int, float]:
    """How many steps are wider, and how much the median one of those is."""
    import numpy as np

    wider = ratios[ratios > 1]
    return int(wider.size), round(float(np.median(wider)), 3) if wider.size else 1.0
