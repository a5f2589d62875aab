"""Which ranges of a plan are cut where what reads them is flat, and where once ranges are measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from qdsl.cascade.rule_words import table_row
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.predict.bounds import Interval
from qdsl.predict.needs import BY_HAND, Known, Need, needs
from qdsl.spec.plan import FIXED, Cut, Origin, Reader, RowsRead, TensorPlan
from qdsl.spec.words import count

_LONG = 4096  # values of a row whose length is not known


def cuts(context: Context, draft: Draft) -> tuple[Cut, ...]:
    """Every observed tensor and every constant stored as activations are, of which readers do without some values; by
    name."""
    if not context.capability.flats:
        return ()
    found = needs(context.view, context.capability.flats, held(context, draft.tensors))
    observed = (plan.tensor for plan in draft.tensors.values() if plan.observe and measured(plan))
    names = sorted({*observed, *constants(context, draft)})
    return tuple(_cut(context, name, found[name]) for name in names if found[name].cut)


def opened(found: Iterable[Cut]) -> Iterator[str]:
    """What data decides of `found`, in the words of `plan`."""
    listed = list(found)
    if listed:
        rows = sorted({row for cut in listed for row in cut.origin.rule.rpartition("row ")[2].split(", ")})
        yield f"ranges of {count(len(listed), 'tensor')}: may be cut where nothing more is read ({', '.join(rows)})"


def resolved(context: Context, draft: Draft, known: Known) -> dict[str, tuple[Interval, frozenset[str]]]:
    """With measured ranges: the bounds, and the table's rows that set them, for each tensor of `cuts`; open ends
    infinite."""
    if not context.capability.flats:
        return {}
    found = needs(context.view, context.capability.flats, held(context, draft.tensors), known)
    wanted = {plan.tensor for plan in draft.tensors.values() if plan.observe and measured(plan)}
    return {
        name: (_ends(found[name]), found[name].by)
        for name in sorted(wanted | constants(context, draft))
        if found[name].cut
    }


def measured(plan: TensorPlan) -> bool:
    return plan.calibration.measured


def held(context: Context, tensors: Mapping[str, TensorPlan]) -> dict[str, Interval]:
    """Tensors read only as stored in a range by hand, with it."""
    found = {}
    for plan in tensors.values():
        low, high = plan.calibration.low, plan.calibration.high
        by_hand = plan.calibration.method == FIXED  # its group has the same range, one from a cache may not
        if by_hand and low is not None and high is not None and _all_read(context, plan):
            found[plan.tensor] = min(low, 0.0), max(high, 0.0)
    return found


def constants(context: Context, draft: Draft) -> set[str]:
    """Constants that are stored in the scheme of the activations beside them."""
    found = set()
    for weight in draft.weights:
        node = context.view.node(weight.node)
        if context.rows[node.index].holds_constant(node, weight.port, context.view):
            found.add(weight.tensor)
    return found


def margin(row: RowsRead, levels: int) -> float:
    """How far below the largest of a row a value lies that, with all others of the row there, adds less than half a
    step of `levels` to what the row sums up to."""
    return math.log(2 * levels) + math.log(max(2, row.length or _LONG))


def _ends(need: Need) -> Interval:
    """The bounds in numbers; what lies far below in rows is cut while it is measured."""
    return (-math.inf if need.rows or need.open else need.low), need.high


def _all_read(context: Context, plan: TensorPlan) -> bool:
    read = {Reader(context.view.nodes[use.node].name, use.port) for use in context.view.tensors[plan.tensor].uses}
    return read <= set(plan.readers) and not context.view.tensors[plan.tensor].is_output


def _cut(context: Context, tensor: str, need: Need) -> Cut:
    rows = tuple(RowsRead(row.tensor, row.axis, row.length) for row in sorted(need.rows, key=lambda r: r.tensor))
    names = sorted(need.by - {BY_HAND})
    origin = table_row(context.capability.name, ", ".join(names)) if names else Origin(BY_HAND)
    low = need.low if math.isfinite(need.low) else None
    high = need.high if math.isfinite(need.high) else None
    return Cut(tensor, low, high, rows, need.open, origin)
