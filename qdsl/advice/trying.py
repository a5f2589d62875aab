"""Changes of a recipe, tried: planned, emitted to a folder of their own with ranges that serve them, held against the
float model on a few samples, and the best evaluated on the data that broke a budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.cascade.assigned import with_assigned
from qdsl.data import Dataset
from qdsl.diag import Diagnostics, QdslError
from qdsl.findings.cures import Cure, changed
from qdsl.harness.tasks import Expected
from qdsl.measure import comparing, evaluating
from qdsl.measure.budgets import Name, Reading
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.correcting import means_for, measure_means, wanted
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.ranges.recalibrating import Recalibration, Sampled
from qdsl.spec.assigned import Assigned
from qdsl.spec.plan import Plan
from qdsl.spec.scratch import scratch
from qdsl.targets import target_of
from qdsl.targets.results import Emitted, NotHere, Verification
from qdsl.tune.tuning import by_ranges
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import Prepared

_SAMPLES = 8
_EVALUATED = 2  # of the changes that agree best with the float model, so many are evaluated on all data


@dataclass(frozen=True, slots=True)
class Bench:
    """What changes are tried with: the recipe and its parameters, the ranges as measured and the data of the build, and
    what it is evaluated on. `heard` is told of samples, done of all. `assigned` is what `allocate` gave, by target:
    changes are tried with it."""

    prepared: Prepared
    sets: Mapping[str, str]
    ranges: TargetRanges
    datasets: Mapping[str, Dataset]
    expected: Sequence[Expected]
    heard: Callable[[str, int, int], None]
    assigned: Mapping[str, Sequence[Assigned]] = field(default_factory=dict)

    def recalibration(self) -> Recalibration:
        return Recalibration(self.prepared.model, self.ranges, self.datasets, self.heard)


@dataclass(frozen=True, slots=True)
class Trial:
    """A change that plans. `sampled` are its ranges, None where the samples for them are not at hand. Where it was
    built, `agreement` is the worst output's signal-to-noise ratio in dB, over `samples` of `source`; where it was
    evaluated, `readings` are what came out."""

    cure: Cure
    prepared: Prepared
    plan: Plan
    sampled: Sampled | None
    agreement: float | None = None
    samples: int = 0
    source: str = ""
    readings: Mapping[str, Mapping[Name, Reading]] = field(default_factory=dict)

    @property
    def recalibrated(self) -> bool:
        return self.sampled is not None and bool(self.sampled.seen)


def planned(bench: Bench, again: Recalibration | None, before: Plan, cure: Cure) -> Iterator[Trial]:
    """The change where the recipe plans with it, and otherwise than `before`, under the scales that ranges decide:
    those of the build alone without `again`."""
    loaded = changed(cure, bench.prepared, bench.sets)
    if loaded is None:
        return
    assigned = bench.assigned.get(before.target, ())
    prepared = replace(bench.prepared, recipe=with_assigned(loaded, assigned))
    try:
        (decided,) = decide_all(prepared, before.target, Diagnostics())
        sampled = Sampled(bench.ranges.of(before.target), {}) if again is None else again.of(decided.plan)
        if sampled is not None:
            ranges = cut_ranges(prepared, decided, sampled.ranges)
            decided, _ = by_ranges(prepared, decided, ranges)
            sampled = replace(sampled, ranges=ranges)
    except QdslError:
        return
    if decided.plan != before:
        yield Trial(cure, prepared, decided.plan, sampled)


def measured(bench: Bench, trials: Sequence[Trial], tasks: Collection[str]) -> list[Trial]:
    """The same changes, those that can be as built: what agrees best with the float model first, and a few of them
    evaluated for `tasks`, one that calibrates otherwise among them."""
    with scratch() as folder:
        tried = [_built(bench, trial, folder / str(number)) for number, trial in enumerate(trials)]
        tried.sort(key=lambda pair: -(pair[0].agreement if pair[0].agreement is not None else float("-inf")))
        able = [place for place, (_, emitted) in enumerate(tried) if emitted is not None]
        again = [place for place in able if tried[place][0].recalibrated]
        chosen = dict.fromkeys([*able[:_EVALUATED], *again[:1]])
        found = _evaluated(bench, {place: tried[place] for place in chosen}, tasks)
        return [replace(trial, readings=found.get(place, {})) for place, (trial, _) in enumerate(tried)]


def built(bench: Bench, trial: Trial, folder: Path) -> Emitted | None:
    """The artifact of a change; None where the samples for its ranges are not at hand. Raises QdslError as emitting
    does."""
    ranges, prepared = _with_means(bench, trial), trial.prepared
    if ranges is None:
        return None
    target = target_of(trial.plan.target)
    return target.emit(prepared.model, trial.plan, ranges, folder, inputs=prepared.recipe.inputs)


def _built(bench: Bench, trial: Trial, folder: Path) -> tuple[Trial, Emitted | None]:
    target, prepared = target_of(trial.plan.target), trial.prepared
    try:
        emitted = built(bench, trial, folder)
        if emitted is None:
            return trial, None
        found = comparing.verified(target, prepared, emitted, trial.plan, bench.datasets, _SAMPLES)
    except QdslError:
        return trial, None
    if isinstance(found, NotHere):
        return trial, None
    return replace(trial, agreement=_agreement(found), samples=found.samples, source=found.source), emitted


def _with_means(bench: Bench, trial: Trial) -> Ranges | None:
    """The trial's ranges, with the means that its biases need; None where the samples for either are not at hand."""
    if trial.sampled is None:
        return None
    known = trial.sampled.ranges
    missing = {tensor: data for tensor, data in wanted(trial.plan).items() if tensor not in known.means}
    if not missing:
        return known
    if not set(missing.values()) <= set(bench.datasets):
        return None
    means = measure_means(trial.prepared, [trial.plan], bench.datasets, lambda *words: None)
    return replace(known, means={**known.means, **means_for(trial.plan, means)})


def _agreement(found: Verification) -> float | None:
    return min((each.sqnr_db for each in found.outputs if each.sqnr_db is not None), default=None)


def _evaluated(
    bench: Bench, chosen: Mapping[int, tuple[Trial, Emitted | None]], tasks: Collection[str]
) -> dict[int, Mapping[str, Mapping[Name, Reading]]]:
    """What comes out on the data that broke a budget: of all at once, so that the float model runs once."""
    asked = [one for one in bench.expected if one.spec.task in tasks and not one.condition]
    built = {f"change {place}": emitted for place, (_, emitted) in chosen.items() if emitted is not None}
    if not built:
        return {}
    target = next(trial.plan.target for trial, _ in chosen.values())
    try:
        found = evaluating.evaluations(bench.prepared, asked, built, bench.heard, Diagnostics(), target=target)
    except QdslError:
        return {}
    return {place: evaluating.readings(found, f"change {place}") for place in chosen}
