"""The ranges and means of a lock, and the targets that they are for.

A lock names a range by its tensor and its method. Targets that measure a tensor alike share one line; where the methods
differ, each has a line of its own, and the method says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.calibrate import Ranges, Request
from qdsl.lock import Chosen, Lock, LockedMeans, LockedRange
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.calibrating import requests
from qdsl.ranges.correcting import wanted, wanted_of
from qdsl.spec.plan import AUTO, Cut, Plan, TensorPlan

Methods = Mapping[str, str]  # by tensor
_WEIGHING = ("entropy", "percentile", "mse", "auto")


@dataclass(frozen=True, slots=True)
class _Told:
    """How a tensor is calibrated, in words: "minmax on calib". `exact` names the scheme, too, on which the rows of a
    Softmax depend; methods that weigh what rounding costs always do: "mse on calib for int8 symmetric per_tensor".
    `cut` is what else decides the range."""

    words: str
    exact: str
    cut: tuple[object, ...]


def needed(plans: Sequence[Plan], lock: Lock | None = None) -> Iterator[tuple[str, str]]:
    """The tensors that the plans need a range of, each with its method as a lock, or `lock`, tells it."""
    for methods in _methods(plans, lock).values():
        yield from methods.items()


def recalled(lock: Lock, plans: Sequence[Plan]) -> TargetRanges:
    """What a lock that has all that the plans need says."""
    known = {found.key: found for found in lock.ranges}
    means = {(found.tensor, found.data): found.means for found in lock.means}
    found = {}
    for plan in plans:
        rows = [known[pair] for pair in _methods(plans, lock)[plan.target].items()]
        low, high = {row.tensor: row.low for row in rows}, {row.tensor: row.high for row in rows}
        own = {tensor: means[tensor, data] for tensor, data in wanted(plan).items()}
        chosen = {row.tensor: row.chosen for row in rows if row.chosen}
        found[plan.target] = Ranges(low, high, lock.samples, lock.settled, means=own, chosen=chosen)
    return TargetRanges(found, lock.samples, lock.settled)


def whole(now: Lock, ranges: TargetRanges, plans: Sequence[Plan], chosen: Chosen) -> Lock:
    """The facts of now with what was measured."""
    rows = {row.key: row for plan in plans for row in _rows(plan, plans, ranges.of(plan.target))}
    means = {pair: ranges.of(plan.target).means[pair[0]] for plan in plans for pair in wanted(plan).items()}
    return replace(
        now,
        samples=ranges.samples,
        settled=ranges.settled_after,
        ranges=tuple(row for _, row in sorted(rows.items())),
        tuned=chosen.tuned,
        assigned=chosen.assigned,
        allocated=chosen.allocated,
        rounded=chosen.rounded,
        means=tuple(LockedMeans(t, data, tuple(means[t, data])) for t, data in wanted_of(plans)),
    )


def of_target(lock: Lock, plan: Plan, plans: Sequence[Plan]) -> Lock:
    """The lock with the ranges and means of one of the plans alone."""
    own, measured = _methods(plans, lock)[plan.target].items(), wanted(plan).items()
    return replace(
        lock,
        ranges=tuple(found for found in lock.ranges if found.key in own),
        means=tuple(found for found in lock.means if (found.tensor, found.data) in measured),
    )


def _rows(plan: Plan, plans: Sequence[Plan], ranges: Ranges) -> Iterator[LockedRange]:
    for tensor, method in _methods(plans)[plan.target].items():
        yield LockedRange(tensor, ranges.low[tensor], ranges.high[tensor], method, ranges.chosen.get(tensor, ""))


def _methods(plans: Sequence[Plan], lock: Lock | None = None) -> dict[str, Methods]:
    """By target, how each observed tensor is calibrated: exactly where the plans differ in what the words leave out,
    or where `lock`, which may be for more targets than these, does so."""
    known = {found.key for found in lock.ranges} if lock is not None else set()
    told = {plan.target: _told(plan) for plan in plans}
    cuts: dict[tuple[str, str], set[tuple[object, ...]]] = {}
    for each in told.values():
        for tensor, one in each.items():
            cuts.setdefault((tensor, one.words), set()).add(one.cut)
    exact = {pair for pair, found in cuts.items() if len(found) > 1}
    return {
        target: {
            tensor: one.exact if (tensor, one.words) in exact or (tensor, one.exact) in known else one.words
            for tensor, one in each.items()
        }
        for target, each in told.items()
    }


def _told(plan: Plan) -> dict[str, _Told]:
    cuts = {cut.tensor: cut for cut in plan.cuts}
    asked = {request.tensor: request for found in requests(plan).values() for request in found}
    observed = (tensor for tensor in plan.tensors if tensor.tensor in asked)
    told = {each.tensor: _of(plan, each, cuts.get(each.tensor), asked[each.tensor]) for each in observed}
    return dict(sorted(told.items()))


def _of(plan: Plan, tensor: TensorPlan, cut: Cut | None, asked: Request) -> _Told:
    """`auto` tries ranges on what reads the tensor rounded, which is another in each plan."""
    how = tensor.calibration
    share = "" if how.percentile is None else f" {how.percentile!r}"
    start = f"{how.method}{share}{' symmetric' if how.symmetric else ''} on {how.data}"
    scheme, rest = f" for {tensor.scheme}", _cut_words(cut, how.method)
    scheme += f" of {plan.target}" if how.method == AUTO else ""
    words = f"{start}{scheme if how.method in _WEIGHING else ''}{rest}"
    return _Told(words, f"{start}{scheme}{rest}", (asked.low, asked.high, asked.rows))


def _cut_words(cut: Cut | None, method: str) -> str:
    """What is cut while it is measured; the rest follows from what was measured."""
    if cut is None or cut.open or not (cut.rows or method in _WEIGHING):
        return ""
    ends = [f" from {cut.low:g}"] if cut.low is not None else []
    ends += [f" to {cut.high:g}"] if cut.high is not None else []
    rows = [f" in rows of {row.length or 'any'} along {row.axis} of {row.tensor}" for row in cut.rows]
    return "".join([",", *ends, *rows])
