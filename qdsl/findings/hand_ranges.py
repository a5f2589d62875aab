"""Ranges by hand (`range [lo, hi]`) held against what the tensors really hold, on a few calibration samples.

A range does not fit when what it cuts off holds more than 1 % of the tensor's energy (the tensor then agrees with the
float model to less than 20 dB, whatever the rounding does), when more than half of the values lie outside, or when it
is so wide that the values keep less than 1 in 16 of its levels. Cutting rare outliers, which is what ranges by hand are
for, passes all three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.calibrate import MASKED, MASKED_ROW
from qdsl.calibrate.cutting import Cut, Limits, cuts
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, Severity, Span
from qdsl.findings.disparity import SHARE
from qdsl.plan import Decisions
from qdsl.plan.cuts import margin
from qdsl.predict.needs import Need, needs
from qdsl.quant import limits as levels_of
from qdsl.spec.plan import RowsRead, TensorPlan
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_ENERGY = 0.01
_VALUES = 0.5
_SAMPLES = 4


def hand_ranges(prepared: Prepared, decided: Decisions, dataset: Dataset | None) -> Iterable[Diagnostic]:
    """One warning per `range` that does not fit, at its line, with the range that would."""
    by_hand = {
        t.tensor: t
        for t in decided.plan.tensors
        if t.calibration.method == "fixed" and t.scheme.dtype.integer and not prepared.view.is_constant(t.tensor)
    }
    samples = list(islice(dataset, _SAMPLES)) if dataset is not None and by_hand else []
    if not samples:
        return
    limits = {name: _limits(plan) for name, plan in by_hand.items()}
    found = cuts(prepared.model, limits, samples, _read(decided, by_hand))
    wrong: dict[tuple[Span, str], list[tuple[TensorPlan, Cut]]] = {}
    for name, plan in by_hand.items():
        if kind := _kind(plan, found[name]):
            wrong.setdefault((_span(decided, plan), kind), []).append((plan, found[name]))
    for (span, kind), cases in wrong.items():
        yield _diagnostic(span, kind, cases, len(samples))


def _limits(plan: TensorPlan) -> Limits:
    """What the scheme can stand for: the range by hand, with 0 in it."""
    low, high = min(plan.calibration.low or 0.0, 0.0), max(plan.calibration.high or 0.0, 0.0)
    return (-max(-low, high), max(-low, high)) if plan.scheme.symmetric else (low, high)


def _read(decided: Decisions, by_hand: Mapping[str, TensorPlan]) -> dict[str, Callable[[Any], Any]]:
    """What counts of tensors of which readers do without some values, such as masked scores."""
    context = decided.context
    found = needs(context.view, context.capability.flats, {})
    return {
        name: partial(_counting, name, found[name], levels_of(plan.scheme))
        for name, plan in by_hand.items()
        if found[name].cut and not found[name].open
    }


def _counting(name: str, need: Need, levels: tuple[int, int], values: NDArray[Any]) -> NDArray[Any]:
    """`values`, cut where their readers are flat."""
    low = need.low
    for row in need.rows if values.size and np.max(values) > MASKED else ():
        axis = row.axis if row.tensor == name else None  # beyond a Reshape, all are taken for one row
        tops = np.max(values, axis=axis)
        seen = tops[tops > np.max(tops) - MASKED_ROW] if axis is not None else tops
        below = margin(RowsRead(row.tensor, row.axis, row.length), levels[1] - levels[0] + 1)
        low = min(low, float(np.min(seen, initial=np.inf)) - below)
    return np.asarray(np.clip(values, low, need.high))


def _kind(plan: TensorPlan, found: Cut) -> str:
    """ "narrow", "wide" or "" where the range fits."""
    if not found.count or not found.energy:
        return ""
    if found.lost > _ENERGY * found.energy or found.outside > _VALUES * found.count:
        return "narrow"
    low, high = _limits(plan)
    lowest, highest = levels_of(plan.scheme)
    used = (max(found.high, 0.0) - min(found.low, 0.0)) / (high - low) if high > low else 1.0
    return "wide" if used * (highest - lowest) < (highest - lowest + 1) / SHARE else ""


def _span(decided: Decisions, plan: TensorPlan) -> Span:
    """The setting that holds: where the range came to a tensor through its group, that of the one it was given to."""
    context = decided.context
    members = [plan, *(t for t in decided.plan.tensors if t.group == plan.group and t.observe)]
    for member in members:
        value = context.asked("range", member.tensor, context.speakers(member.tensor, decided.draft.tensors)).value
        if value is not None:
            return value.span
    return context.cascade.mode.span


def _diagnostic(span: Span, kind: str, cases: Sequence[tuple[TensorPlan, Cut]], samples: int) -> Diagnostic:
    plan, cut = max(cases, key=lambda case: (case[1].lost / case[1].energy, case[0].tensor))
    given = f"[{plan.calibration.low:g}, {plan.calibration.high:g}]"
    more = f" and of {len(cases) - 1} more tensor{'s' * (len(cases) > 2)}" if len(cases) > 1 else ""
    seen = f"measured [{cut.low:.4g}, {cut.high:.4g}] on {samples} sample{'' if samples == 1 else 's'}"
    low, high = min(0.0, *(c.low for _, c in cases)), max(0.0, *(c.high for _, c in cases))
    fits = f"write `range [{_outwards(low, -1)}, {_outwards(high, 1)}]`, which holds all of it"
    if kind == "narrow":
        headline = f"`range {given}` cuts off much of what {plain(plan.tensor)}{more} holds"
        outside, lost = _percent(cut.outside / cut.count), _percent(cut.lost / cut.energy)
        label = f"{seen}: {outside} of the values lie outside, {lost} of the energy is cut off"
    else:
        headline = f"`range {given}` is far wider than what {plain(plan.tensor)}{more} holds"
        label = f"{seen}: the values keep less than 1 in {SHARE} of the levels"
    return Diagnostic("range-by-hand", headline, span, label, (fits,), severity=Severity.WARNING)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _outwards(value: float, sign: int) -> str:
    """Two or three digits, rounded away from the inside of the range."""
    if value == 0.0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    scaled = value * 10.0**digits
    whole = math.ceil(scaled) if sign > 0 else math.floor(scaled)
    return f"{round(whole / 10.0**digits, max(0, digits)):.12g}"
