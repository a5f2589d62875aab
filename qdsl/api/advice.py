"""A budget that is broken, and what to try next: changes of the recipe that were tried before they are told.

Each is planned; where the ranges of this build serve it, it is emitted to a folder of its own, held against the float
model on a few samples, and the best are evaluated on the data that broke the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.api import comparing, evaluating
from qdsl.api.budgets import Budget, Name, Reading, Readings, decide_budgets
from qdsl.api.calibrating import requests
from qdsl.api.correcting import measure_means, wanted
from qdsl.api.cures import Cure, changed, names
from qdsl.api.cut_ranges import cut_ranges
from qdsl.api.planning import decide_all
from qdsl.api.prepare import Prepared
from qdsl.api.tuning import by_ranges
from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, QdslError, Report, Severity
from qdsl.graph.structure import decode_head
from qdsl.harness.tasks import Expected
from qdsl.lang.recipe import KeepRule
from qdsl.lang.vocabulary import METRICS
from qdsl.plan import Plan
from qdsl.plan.render import in_unit, plain
from qdsl.spec import Granularity
from qdsl.spec.scratch import scratch
from qdsl.targets import target_module
from qdsl.targets.results import Emitted, Verification

_SAMPLES = 8
_EVALUATED = 2  # of the changes that agree best with the float model, so many are evaluated on all data
_SPEED = ("latency", "throughput", "cpu")
_TASKS = {row.name: row.tasks for row in METRICS}


@dataclass(frozen=True, slots=True)
class Build:
    """What was built for one target, and the budgets as they were decided."""

    plan: Plan
    verification: Verification
    budgets: tuple[Budget, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """What changes are tried with: the recipe and its parameters, the ranges as measured and the data of the build, and
    what it is evaluated on. `heard` is told of samples, done of all."""

    prepared: Prepared
    sets: Mapping[str, str]
    ranges: Ranges
    datasets: Mapping[str, Dataset]
    expected: Sequence[Expected]
    heard: Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Trial:
    """A change that plans, with the ranges as it cuts them; `agreement` is the worst output's signal-to-noise ratio
    where it was built, and `budget` the budget under it where that is known."""

    cure: Cure
    prepared: Prepared
    plan: Plan
    ranges: Ranges
    agreement: float | None = None
    budget: Budget | None = None


def advice(bench: Bench, builds: Sequence[Build]) -> Iterator[Diagnostic]:
    """A warning for each broken budget, with what to try next."""
    for build in builds:
        for budget in build.budgets:
            if budget.verdict == "broken":
                yield _told(budget, build.plan.target, _tried(bench, build, budget))


def _tried(bench: Bench, build: Build, budget: Budget) -> list[_Trial]:
    """The changes that plan, the best first."""
    planned = [trial for cure in _candidates(bench.prepared, build, budget) for trial in _planned(bench, build, cure)]
    if budget.metric in _SPEED:
        return planned
    if not _TASKS[budget.metric]:
        known = (replace(trial, budget=_counted(trial, budget)) for trial in planned)
        return sorted(known, key=lambda trial: _distance(trial.budget))
    with scratch() as folder:
        return _measured(bench, planned, budget, folder)


def _planned(bench: Bench, build: Build, cure: Cure) -> Iterator[_Trial]:
    """The change where the recipe plans with it, and otherwise than before, under the scales that ranges decide."""
    loaded = changed(cure, bench.prepared, bench.sets)
    if loaded is None:
        return
    prepared = replace(bench.prepared, recipe=loaded)
    try:
        (decided,) = decide_all(prepared, build.plan.target, Report())
        ranges = cut_ranges(prepared, [decided], bench.ranges)
        decided, _ = by_ranges(prepared, decided, ranges)
    except QdslError:
        return
    if decided.plan != build.plan:
        yield _Trial(cure, prepared, decided.plan, ranges)


def _counted(trial: _Trial, budget: Budget) -> Budget | None:
    """A budget that the plan decides: on size, or on the share that runs in integers."""
    totals = trial.plan.totals
    whole: dict[Name, Reading] = {
        ("size", ()): Reading(float(totals.predicted_bytes), float(totals.float_bytes), source="predicted")
    }
    if totals.macs:
        whole["integer_share", ()] = Reading(totals.integer_macs / totals.macs, source="predicted")
    return _decided(trial, budget, Readings(whole))


def _decided(trial: _Trial, budget: Budget, known: Readings) -> Budget | None:
    target = next(each for each in trial.prepared.recipe.targets if each.name == trial.plan.target)
    found = decide_budgets(trial.prepared.recipe, target, known)
    return next((each for each in found if each.text == budget.text and each.value is not None), None)


def _measured(bench: Bench, planned: Sequence[_Trial], budget: Budget, folder: Path) -> list[_Trial]:
    """The changes as built: those that agree best with the float model first, a few of them evaluated."""
    built = []
    for number, trial in enumerate(planned):
        ranges = _ranges(bench, trial)
        if ranges is None:
            continue
        try:
            built.append(_built(bench, trial, ranges, folder / str(number)))
        except QdslError:
            continue
    built.sort(key=lambda pair: -(pair[0].agreement or 0.0))
    found = [
        replace(trial, budget=_evaluated(bench, trial, budget, emitted)) if place < _EVALUATED else trial
        for place, (trial, emitted) in enumerate(built)
    ]
    return sorted(found, key=lambda trial: _distance(trial.budget))


def _ranges(bench: Bench, trial: _Trial) -> Ranges | None:
    """The build's ranges where they are those that the change asks for, with the means it needs."""
    asked = {r.tensor: f"{r} on {data}" for data, found in requests([trial.plan]).items() for r in found}
    known = trial.ranges
    if any(bench.ranges.methods.get(tensor) != how for tensor, how in asked.items()):
        return None
    missing = {tensor: data for tensor, data in wanted([trial.plan]).items() if tensor not in known.means}
    if not missing:
        return known
    if not set(missing.values()) <= set(bench.datasets):
        return None
    try:
        means = measure_means(trial.prepared, [trial.plan], bench.datasets, lambda *words: None)
    except QdslError:
        return None
    return replace(known, means={**known.means, **means})


def _built(bench: Bench, trial: _Trial, ranges: Ranges, folder: Path) -> tuple[_Trial, Emitted]:
    module, prepared = target_module(trial.plan.target), trial.prepared
    emitted = module.emit(prepared.model, trial.plan, ranges, folder, inputs=prepared.recipe.inputs)
    found = comparing.verified(module, prepared, emitted, trial.plan, bench.datasets, _SAMPLES)
    return replace(trial, agreement=_agreement(found)), emitted


def _agreement(found: Verification) -> float | None:
    return min((each.sqnr_db for each in found.outputs if each.sqnr_db is not None), default=None)


def _evaluated(bench: Bench, trial: _Trial, budget: Budget, emitted: Emitted) -> Budget | None:
    """The budget on the data that broke it."""
    tasks = _TASKS[budget.metric]
    asked = [one for one in bench.expected if one.spec.task in tasks and not one.condition]
    try:
        found = evaluating.evaluations(trial.prepared, asked, {trial.plan.target: emitted}, bench.heard)
    except QdslError:
        return None
    return _decided(trial, budget, Readings({}, evaluating.readings(found, trial.plan.target)))


def _distance(budget: Budget | None) -> float:
    """How far a figure is from its bound, on the wrong side; what is not known stands last."""
    if budget is None or budget.value is None or budget.bound is None:
        return float("inf")
    less = budget.comparison in ("<", "<=")
    return budget.value - budget.bound if less else budget.bound - budget.value


def _candidates(prepared: Prepared, build: Build, budget: Budget) -> list[Cure]:
    """Changes that often help against a budget of this kind."""
    if budget.metric in _SPEED:
        return [] if prepared.recipe.tune is not None else [Cure("tune latency")]
    if budget.metric == "integer_share":
        return [Cure("", rule.span, what="keep") for rule in _keeps(prepared)]
    if budget.metric == "size":
        every = "layers op [Conv, Gemm, MatMul]"
        kinds = ("int8 per_channel", "int8 storage_only", "int4 per_block 32 storage_only")
        return [Cure(f"{every} {{ weights {kind} }}") for kind in kinds]
    return [Cure(line) for line in dict.fromkeys(_for_quality(prepared, build))] if _TASKS[budget.metric] else []


def _keeps(prepared: Prepared) -> list[KeepRule]:
    return [rule for rule in prepared.recipe.rules if isinstance(rule, KeepRule)]


def _for_quality(prepared: Prepared, build: Build) -> Iterator[str]:
    """What loses most is left in float, weights get a scale per channel, rounding errors are taken back."""
    view = prepared.view
    if decode_head(view):
        yield "keep decode_head in float32"
    for weight in build.plan.weights:
        if weight.scheme.granularity is Granularity.PER_TENSOR and weight.scheme.dtype.integer:
            yield f"layers op [Conv, Gemm, MatMul] {{ weights {weight.scheme.dtype.name} per_channel }}"
            break
    if prepared.recipe.improve is None and build.plan.mode == "static":
        yield "improve { bias_correct }"
    writers = [view.producer(each.tensor) for each in build.verification.worst]
    worst = list(dict.fromkeys(node.name for node in writers if node is not None))
    for count in (1, len(worst)):
        if quoted := names(worst[:count]) if worst[:count] else None:
            yield f"keep {quoted} in float32"
    yield "keep first 1 of op Conv in float32"
    yield "keep last 1 of op [Conv, Gemm, MatMul] in float32"


def _told(budget: Budget, target: str, tried: Sequence[_Trial]) -> Diagnostic:
    value = "" if budget.value is None else f": {in_unit(budget.value, budget.unit)}"
    headline = f"`{plain(budget.text)}` is broken on {target}{value}"
    return Diagnostic(
        "budget-broken", headline, budget.span, help=tuple(_help(budget, tried)), severity=Severity.WARNING
    )


def _help(budget: Budget, tried: Sequence[_Trial]) -> Iterable[str]:
    if not tried:
        return ["no change that is known to help can be planned here: look at `qdsl plan`, or change the budget"]
    best = tried[0]
    if budget.metric in _SPEED:
        return [f"add `{best.cure.told}`: it plans, and measures by itself what is faster"]
    if best.budget is None or best.budget.value is None:
        return [f"try `{best.cure.told}`: it plans, and its figures need a compile"]
    shown = f"{in_unit(best.budget.value, budget.unit)} ({best.budget.source})"
    if best.budget.verdict == "holds":
        return [f"{_do(best.cure)}: tried, and it holds with {shown}"]
    if _distance(best.budget) < _distance(budget):
        return [f"{_do(best.cure)}: the best of {len(tried)} changes that were tried, {shown}; still broken"]
    return [f"none of {len(tried)} changes that were tried helps: " + ", ".join(f"`{t.cure.told}`" for t in tried)]


def _do(cure: Cure) -> str:
    return f"add `{cure.told}`" if cure.instead is None else cure.told
