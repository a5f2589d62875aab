"""Integers of weights that `round` chooses, for all targets: from the data, or from the lock and the file beside it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from numpy.typing import NDArray

from qdsl.data import Dataset
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph import Model
from qdsl.graph.view import GraphView
from qdsl.harness.rounding import place_of
from qdsl.lock import Change, LockedWeight
from qdsl.quant import storage_type
from qdsl.quant.guard import exact, guarded_limits
from qdsl.ranges import weights_file
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.staleness import stale
from qdsl.rounding.layers import Layer, layers
from qdsl.rounding.learning import Heard, learn
from qdsl.spec import WeightKey
from qdsl.spec.plan import Plan
from qdsl.spec.rounding import RoundedRow, Rounding, to_json
from qdsl.spec.words import count
from qdsl.work.writing import write_text

_FOLDER = ".rounding-"


@dataclass(frozen=True, slots=True)
class Weights:
    """The integers by target and weight, and the lines that a lock has of them."""

    codes: Mapping[str, Mapping[WeightKey, NDArray[Any]]] = field(default_factory=dict)
    lines: tuple[LockedWeight, ...] = ()

    def with_them(self, ranges: TargetRanges) -> TargetRanges:
        """`ranges` with the integers of each target."""
        return ranges.mapped(lambda target, found: replace(found, rounded=self.codes.get(target, {})))

    @property
    def arrays(self) -> list[NDArray[Any]]:
        return [codes for each in self.codes.values() for codes in each.values()]


def asked(plans: Sequence[Plan]) -> bool:
    return any(weight.rounded_on is not None for plan in plans for weight in plan.weights)


def measured(
    models: Sequence[Model],
    plans: Sequence[Plan],
    ranges: TargetRanges,
    datasets: Mapping[str, Dataset],
    folder: Path,
    heard: Heard,
) -> Weights:
    """The integers that the data decides, for the plan of each of the canonical float `models`. What was found so far
    is kept in `folder` until all is. Raises QdslError as `learn` does."""
    codes, lines = {}, []
    places = [folder / f"{_FOLDER}{plan.target}" for plan in plans]
    for model, plan, place in zip(models, plans, places, strict=True):
        found = learn(model, plan, ranges.of(plan.target), datasets, place, heard)
        codes[plan.target] = {key: each.codes for key, each in found.items()}
        own = [
            LockedWeight(plan.target, key.tensor, key.how, weights_file.digest(each.codes), each.before, each.after)
            for key, each in found.items()
        ]
        lines += own
        heard(f"round adaptive for {plan.target}   {told(own)}", 0, 0)
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
    return Weights(codes, tuple(sorted(lines)))


def keep(directory: Path, plan: Plan, view: GraphView, lines: Sequence[LockedWeight]) -> None:
    """What was gained for one target into a build's folder, for its report; nothing is left there of an earlier build.
    Raises QdslError artifact-write."""
    known = {(one.tensor, one.scheme): one for one in lines if one.target == plan.target}
    found = [(layer, known.get((layer.key.tensor, layer.key.how))) for layer in layers(plan, view)] if known else []
    rows = tuple(
        RoundedRow(one.tensor, str(layer.key.scheme), layer.nodes, one.before, one.after)
        for layer, one in found
        if one is not None
    )
    path = place_of(directory, plan.target)
    if rows:
        write_text(path, to_json(Rounding(rows)))
    else:
        path.unlink(missing_ok=True)


def told(lines: Sequence[LockedWeight]) -> str:
    """What was gained, in words."""
    gained = fmean(one.after - one.before for one in lines) if lines else 0.0
    return f"{count(len(lines), 'weight')}, what their layers write {gained:.1f} dB nearer to float in the mean"


def recalled(
    plans: Sequence[Plan], models: Sequence[Model], known: Sequence[LockedWeight], path: Path, lock: Path, span: Span
) -> Weights:
    """The integers that the lock at `lock` names, from the file at `path`. Raises QdslError: lock-stale where it has
    not all that the plans need, lock-weights where the file is not the one that it was written with."""
    lacking = [
        Change(f"weight: the integers of `{tensor}` are needed, too", span)
        for plan, model in zip(plans, models, strict=True)
        for tensor in missing([plan], model.view(), known)
    ]
    if lacking:
        raise QdslError([stale(lock, lacking, span)])
    by = {(one.target, one.tensor, one.scheme): one for one in known}
    needed: list[tuple[Plan, Layer]] = [
        (plan, layer) for plan, model in zip(plans, models, strict=True) for layer in layers(plan, model.view())
    ]
    lines = {(plan.target, layer.key): by[plan.target, layer.key.tensor, layer.key.how] for plan, layer in needed}
    sizes = {lines[plan.target, layer.key].sha256: _elements(layer) for plan, layer in needed}
    codes: dict[str, dict[WeightKey, NDArray[Any]]] = {plan.target: {} for plan in plans}
    try:
        found = weights_file.read(path, sizes)
        for plan, layer in needed:
            codes[plan.target][layer.key] = _fitting(layer, found[lines[plan.target, layer.key].sha256])
    except weights_file.WeightsUnfitError as error:
        headline = f"`{path.name}` does not hold the integers that `{lock.name}` names"
        cures = ("take both from version control again, or choose anew: `qdsl compile --update`",)
        raise QdslError([Diagnostic("lock-weights", headline, span, str(error), cures)]) from None
    return Weights(codes, tuple(sorted(lines.values())))


def missing(plans: Sequence[Plan], view: GraphView, known: Sequence[LockedWeight]) -> list[str]:
    """The weights whose integers the plans need and the lines of a lock do not have."""
    there = {(one.target, one.tensor, one.scheme) for one in known}
    wanted = ((plan.target, layer.key) for plan in plans for layer in layers(plan, view))
    return [key.tensor for target, key in wanted if (target, key.tensor, key.how) not in there]


def _elements(layer: Layer) -> int:
    return layer.form.outputs * layer.form.size


def _fitting(layer: Layer, codes: NDArray[Any]) -> NDArray[Any]:
    """`codes`, which a weight may have: what a hash does not say of a file that others wrote."""
    key = layer.key
    low, high = guarded_limits(key.scheme, key.guard)
    if codes.shape != layer.form.shape or codes.dtype != storage_type(key.scheme.dtype):
        raise weights_file.WeightsUnfitError(f"the integers of `{key.tensor[:80]}` have another shape or type")
    if codes.size and not (low <= int(codes.min()) and int(codes.max()) <= high):
        raise weights_file.WeightsUnfitError(f"the integers of `{key.tensor[:80]}` are none of {key.scheme}")
    if not exact(codes, key.guard, None).all():
        raise weights_file.WeightsUnfitError(f"sums of the integers of `{key.tensor[:80]}` would saturate")
    return codes
