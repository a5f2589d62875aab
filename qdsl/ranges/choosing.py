"""`calibrate auto`: which of the ranges that several methods give each tensor, by what its readers make of them.

A method is chosen for all tensors of one scale together. What counts is not how near the rounded values come to those
of the tensor, which `mse` knows without trying: it is how near what is computed from them comes to the float model's,
up to the next tensors that are rounded, behind their activations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdsl.calibrate import Ranges
from qdsl.calibrate.candidates import Candidate
from qdsl.calibrate.trial import STORED, Option, Trial, try_out
from qdsl.data import Dataset
from qdsl.passes.qdq_parameters import activation_parameters
from qdsl.quant.scales import limits
from qdsl.ranges.by_target import TargetRanges
from qdsl.spec.plan import Plan, TensorPlan
from qdsl.spec.words import count
from qdsl.work.prepared import Prepared

MOST = 16  # samples that ranges are tried on
# A narrower range has to be better by so much: less is chance, and what the other samples hold is cut off.
_GAIN = 0.02
_SAME = 1.0 / 32  # scales that differ by less round alike
Heard = Callable[[str, int, int, float], None]


@dataclass(frozen=True, slots=True)
class _Group:
    """Tensors of one scale, of which some are calibrated by `auto` on `data`; `methods` in the order of preference,
    each with the scale that it leads to."""

    members: tuple[TensorPlan, ...]
    asked: tuple[str, ...]
    data: str
    methods: tuple[str, ...]
    options: tuple[Option, ...]


def choose_ranges(
    prepared: Prepared, plans: Sequence[Plan], datasets: Mapping[str, Dataset], ranges: TargetRanges, heard: Heard
) -> TargetRanges:
    """`ranges` with the one of each tensor's candidates that does best, and its method in `chosen`. `heard` is told
    (text, samples done, samples in all, 0); zeros at the end of a dataset. Raises QdslError as calibration does."""
    found = dict(ranges.by_target)
    for plan in plans:
        groups = list(_groups(prepared, plan, found[plan.target]))
        for name in sorted({group.data for group in groups}):
            here = [group for group in groups if group.data == name]
            best = _best(prepared, plan, here, datasets[name], heard)
            found[plan.target] = _taken(found[plan.target], here, best)
    return replace(ranges, by_target=found)


def spread(dataset: Dataset) -> range:
    """At most MOST samples, evenly over the dataset."""
    return range(0, len(dataset), -(-len(dataset) // MOST) or 1)


def _best(prepared: Prepared, plan: Plan, groups: Sequence[_Group], dataset: Dataset, heard: Heard) -> list[str]:
    """The method of each group."""
    how = f"auto on {dataset.name}"
    samples = spread(dataset)

    def told(done: int, total: int) -> None:
        heard(f"{how}: ranges tried", done, total, 0.0)

    tried = [group for group in groups if len(group.options) > 1]
    trials = [Trial(_readers(group.members), group.options, limits(group.members[0].scheme)) for group in tried]
    stops = {tensor.tensor for tensor in plan.tensors}
    errors = try_out(prepared.model, trials, stops, samples, dataset, told) if trials else []
    by_group = {group.members[0].group: error for group, error in zip(tried, errors, strict=True)}
    best = [group.methods[_pick(by_group.get(group.members[0].group))] for group in groups]
    taken = ", ".join(f"{method} {number}" for method, number in Counter(best).most_common())
    heard(f"{how}   tried on {count(len(samples), 'sample')}, taken: {taken}", 0, 0, 0.0)
    return best


def _pick(errors: np.ndarray | None) -> int:
    """The first whose error is as good as the least."""
    if errors is None or not np.isfinite(errors).all():
        return 0
    return int(np.argmax(errors <= errors.min() * (1 + _GAIN)))


def _readers(members: Iterable[TensorPlan]) -> dict[str, tuple[tuple[str, int], ...]]:
    return {each.tensor: tuple((reader.node, reader.port) for reader in each.readers) for each in members}


def _groups(prepared: Prepared, plan: Plan, ranges: Ranges) -> Iterable[_Group]:
    members: dict[str, list[TensorPlan]] = {}
    for tensor in plan.tensors:
        members.setdefault(tensor.group, []).append(tensor)
    for group in members.values():
        asked = [tensor for tensor in group if tensor.tensor in ranges.tried]
        if asked:
            yield _group(prepared, group, asked, ranges)


def _group(prepared: Prepared, group: Sequence[TensorPlan], asked: Sequence[TensorPlan], ranges: Ranges) -> _Group:
    names = tuple(each.tensor for each in asked)
    data = asked[0].calibration.data or ""
    if group[0].scheme.dtype.name not in STORED:
        return _Group(tuple(group), names, data, (_least(names, ranges),), ())
    options = []
    for method in (each.method for each in ranges.tried[names[0]]):
        picked = _with(ranges, names, method)
        (params,) = activation_parameters(group, picked, prepared.view, prepared.model).values()
        option = Option(np.float32(params.scale), int(params.zero_point), params.dtype)
        options.append((float(option.scale), method, option))
    options.sort(key=lambda option: -option[0])
    kept = [options[0]]
    for following in options[1:]:
        if following[0] < kept[-1][0] * (1 - _SAME):
            kept.append(following)
    return _Group(tuple(group), names, data, tuple(m for _, m, _ in kept), tuple(p for _, _, p in kept))


def _least(names: Sequence[str], ranges: Ranges) -> str:
    """The method with the least error of the tensors themselves."""
    methods = [each.method for each in ranges.tried[names[0]]]
    sums = {m: sum(_of(ranges, name, m).error for name in names) for m in methods}
    return min(methods, key=lambda method: sums[method])


def _of(ranges: Ranges, tensor: str, method: str) -> Candidate:
    return next(each for each in ranges.tried[tensor] if each.method == method)


def _with(ranges: Ranges, names: Iterable[str], method: str) -> Ranges:
    picked = {name: _of(ranges, name, method) for name in names}
    low, high = ({name: getattr(each, end) for name, each in picked.items()} for end in ("low", "high"))
    chosen = dict.fromkeys(picked, method)
    return replace(ranges, low={**ranges.low, **low}, high={**ranges.high, **high}, chosen={**ranges.chosen, **chosen})


def _taken(ranges: Ranges, groups: Sequence[_Group], best: Sequence[str]) -> Ranges:
    for group, method in zip(groups, best, strict=True):
        ranges = _with(ranges, group.asked, method)
    return ranges
