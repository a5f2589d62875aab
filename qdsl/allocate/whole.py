"""Bounds of `allocate` on what is known of a build without running it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qdsl.allocate.bounds import judged
from qdsl.measure import widths
from qdsl.measure.budgets import Reading
from qdsl.plan import Decisions
from qdsl.plan.gate import WIDTHS
from qdsl.predict.bits import bits
from qdsl.spec.allocation import Held
from qdsl.work.prepared import Prepared

SIZE = "size"


def bounded(prepared: Prepared) -> frozenset[str]:
    """What the recipe's `allocate` bounds, by names of metrics; nothing without one."""
    spec = prepared.recipe.allocate
    return frozenset() if spec is None else frozenset(limit.require.metric.name for limit in spec.limits)


def held(prepared: Prepared, decided: Decisions, size: int) -> Iterator[Held]:
    """The bounds by a plan whose file has `size` bytes; `macs` are those in float, as in `minimize`."""
    totals, spec = decided.plan.totals, prepared.recipe.allocate
    share = totals.integer_macs / totals.macs if totals.macs else 0.0
    known = {
        SIZE: Reading(float(size), float(prepared.file_bytes)),
        "macs": Reading(float(totals.macs - totals.integer_macs), float(totals.macs)),
        "integer_share": Reading(share),
        **_of_widths(prepared, decided),
    }
    for limit in spec.limits if spec is not None else ():
        reading = known.get(limit.require.metric.name)
        if reading is not None:
            found = judged(prepared.recipe, limit, reading)
            yield Held(found.text, reading.value, reading.reference, found.margin, found.holds)


def _of_widths(prepared: Prepared, decided: Decisions) -> dict[str, Reading]:
    if WIDTHS.isdisjoint(bounded(prepared)):
        return {}
    plan, context = decided.plan, decided.context
    found = widths.readings(bits(plan, context.view, context.folded), plan.totals.macs, "")
    return {name: reading for (name, _), reading in found.items() if not math.isnan(reading.value)}
