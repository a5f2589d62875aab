"""A budget that is broken, and what to try next: changes of the recipe that were tried before they are told, each with
what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qdsl.advice.trying import Bench, Trial, measured, planned
from qdsl.diag import Diagnostic, Severity
from qdsl.findings.cures import Cure
from qdsl.graph.structure import decode_head
from qdsl.harness.measurements import LINKED
from qdsl.lang.quoting import names
from qdsl.lang.recipe import KeepRule
from qdsl.lang.vocabulary import METRICS
from qdsl.measure import widths
from qdsl.measure.budgets import Budget, Name, Reading, Readings, decide_budgets
from qdsl.plan.gate import EMITS_C, WIDTHS
from qdsl.spec import Granularity
from qdsl.spec.plan import Plan
from qdsl.spec.words import count, in_unit, plain, shortened
from qdsl.targets.results import NotHere, Verification
from qdsl.work.prepared import Prepared

_SPEED = ("latency", "throughput", "cpu")
_TASKS = {row.name: row.tasks for row in METRICS}
_METHODS = ("percentile 99.99", "entropy", "mse", "minmax")
_WIDEST = 100  # characters of a change in a list
Tried = tuple[Trial, Budget | None]  # a change, and the budget under it where that is known


@dataclass(frozen=True, slots=True)
class Build:
    """What was built for one target, and the budgets as they were decided."""

    plan: Plan
    verification: Verification | NotHere
    budgets: tuple[Budget, ...]


def advice(bench: Bench, builds: Sequence[Build]) -> Iterator[Diagnostic]:
    """A warning for each broken budget, with what to try next."""
    for build in builds:
        broken = [budget for budget in build.budgets if budget.verdict == "broken"]
        quality = [budget for budget in broken if _TASKS[budget.metric]]
        trials = _for_answers(bench, build, quality) if quality else []
        for budget in broken:
            if budget in quality:
                found: list[Tried] = [(each, _decided(each, budget, Readings({}, each.readings))) for each in trials]
            else:
                found = _for_figures(bench, build, budget)
            found.sort(key=lambda pair: _distance(pair[1]))
            yield _told(bench, budget, build.plan.target, found)


def _for_answers(bench: Bench, build: Build, budgets: Sequence[Budget]) -> list[Trial]:
    """Changes that may help the answers, tried once for all budgets on these."""
    again = bench.recalibration()
    cures = dict.fromkeys(_for_quality(bench.prepared, build))
    trials = [trial for cure in cures for trial in planned(bench, again, build.plan, cure)]
    return measured(bench, trials, {task for budget in budgets for task in _TASKS[budget.metric]})


def _for_figures(bench: Bench, build: Build, budget: Budget) -> list[Tried]:
    """Changes that may help against a budget which the plan decides, or tuning."""
    cures = _other_cures(bench.prepared, budget)
    trials = (trial for cure in cures for trial in planned(bench, None, build.plan, cure))
    return [(trial, _counted(trial, budget)) for trial in trials]


def _counted(trial: Trial, budget: Budget) -> Budget | None:
    """A budget that the plan decides: on size, or on the share that runs in integers."""
    totals = trial.plan.totals
    whole: dict[Name, Reading] = {
        ("size", ()): Reading(float(totals.predicted_bytes), float(totals.float_bytes), source="predicted")
    }
    if totals.macs:
        whole["integer_share", ()] = Reading(totals.integer_macs / totals.macs, source="predicted")
    return _decided(trial, budget, Readings(whole))


def _decided(trial: Trial, budget: Budget, known: Readings) -> Budget | None:
    target = next(each for each in trial.prepared.recipe.targets if each.name == trial.plan.target)
    found = decide_budgets(trial.prepared.recipe, target, known)
    return next((each for each in found if each.text == budget.text and each.value is not None), None)


def _distance(budget: Budget | None) -> float:
    """How far a figure is from its bound, on the wrong side; what is not known stands last."""
    if budget is None or budget.value is None or budget.bound is None:
        return float("inf")
    less = budget.comparison in ("<", "<=")
    return budget.value - budget.bound if less else budget.bound - budget.value


def _other_cures(prepared: Prepared, budget: Budget) -> list[Cure]:
    """Changes that often help against a budget on something else than answers."""
    if budget.metric in _SPEED:
        return [] if prepared.recipe.tune is not None else [Cure("tune latency")]
    if budget.metric == "integer_share":
        return [Cure("", rule.span, what="keep") for rule in prepared.recipe.rules if isinstance(rule, KeepRule)]
    if budget.metric == "size":
        every = "layers op [Conv, Gemm, MatMul]"
        kinds = ("int8 per_channel", "int8 storage_only", "int4 per_block 32 storage_only")
        return [Cure(f"{every} {{ weights {kind} }}") for kind in kinds]
    return []


def _for_quality(prepared: Prepared, build: Build) -> Iterator[Cure]:
    """What loses most is left in float, weights get a scale per channel, rounding errors are taken back, ranges are
    found otherwise."""
    view = prepared.view
    if decode_head(view):
        yield Cure("keep decode_head in float32")
    for weight in build.plan.weights:
        if weight.scheme.granularity is Granularity.PER_TENSOR and weight.scheme.dtype.integer:
            yield Cure(f"layers op [Conv, Gemm, MatMul] {{ weights {weight.scheme.dtype.name} per_channel }}")
            break
    if prepared.recipe.improve is None and build.plan.mode == "static":
        yield Cure("improve { bias_correct }")
    yield from _calibrations(prepared, build.plan)
    worst_of = () if isinstance(build.verification, NotHere) else build.verification.worst
    writers = [view.producer(each.tensor) for each in worst_of]
    worst = list(dict.fromkeys(node.name for node in writers if node is not None))
    for few in (1, len(worst)):
        if quoted := names(worst[:few]) if worst[:few] else None:
            yield Cure(f"keep {quoted} in float32")
    yield Cure("keep first 1 of op Conv in float32")
    yield Cure("keep last 1 of op [Conv, Gemm, MatMul] in float32")


def _calibrations(prepared: Prepared, plan: Plan) -> Iterator[Cure]:
    """Ranges found by a method that is not theirs now: where the recipe says how, else by a rule for all nodes."""
    mode = prepared.recipe.mode
    now = mode.settings.calibrate if mode is not None else None
    found = [each.calibration for each in plan.tensors if each.observe and each.calibration.data is not None]
    used = {(each.data, f"{each.method} {each.percentile or ''}".strip()) for each in found}
    for data in dict.fromkeys(each.data for each in found):
        for method in _METHODS:
            line = f"calibrate {method} on {data}"
            if used == {(data, method)}:
                continue
            if now is not None and now.data == data and now.span.file == prepared.recipe.path:
                yield Cure("", now.span, line)
            else:
                yield Cure(f"layers all {{ {line} }}")


def _told(bench: Bench, budget: Budget, target: str, tried: Sequence[Tried]) -> Diagnostic:
    value = "" if budget.value is None else f": {in_unit(budget.value, budget.unit)}"
    headline = f"`{plain(budget.text)}` is broken on {target}{value}"
    smaller = _smaller(bench.prepared, budget, target) or _narrower(bench.prepared, budget, target)
    help, notes = smaller or tuple(_help(bench, budget, tried)), tuple(_notes(bench, tried))
    return Diagnostic("budget-broken", headline, budget.span, help=help, notes=notes, severity=Severity.WARNING)


def _smaller(prepared: Prepared, budget: Budget, target: str) -> tuple[str, ...]:
    """Words of the target's block that make emitted C smaller and do not stand there; what they come to, a linker
    tells."""
    block = next((each for each in prepared.recipe.targets if each.name == target), None)
    if block is None or target not in EMITS_C or budget.metric not in LINKED:
        return ()
    mode, found = block.mode or prepared.recipe.mode, []
    if block.optimize != "ram":
        found.append("`optimize ram` in the target's block mostly takes less flash and RAM, and more time")
    if budget.metric == "ram" and block.io is None and mode is not None and mode.kind == "static":
        found.append("`io int8` there: inputs take a quarter of the bytes")
    return tuple(found)


def _narrower(prepared: Prepared, budget: Budget, target: str) -> tuple[str, ...]:
    """How widths are chosen within a budget on them."""
    block = next((each for each in prepared.recipe.targets if each.name == target), None)
    return widths.cures(prepared.recipe, block, budget) if block is not None and budget.metric in WIDTHS else ()


def _help(bench: Bench, budget: Budget, tried: Sequence[Tried]) -> Iterable[str]:
    if not tried:
        return ["no change that is known to help can be planned here: look at `qdsl plan`, or change the budget"]
    best, found = tried[0]
    if budget.metric in _SPEED:
        return [f"add `{best.cure.told}`: it plans, and measures by itself what is faster"]
    if found is None or found.value is None:
        return [f"{_do(best.cure, 'try')}: it plans, and its figures need a compile"]
    shown, ranges = f"{in_unit(found.value, budget.unit)} ({found.source})", _ranges(bench, best)
    if found.verdict == "holds":
        return [f"{_do(best.cure)}: tried{ranges}, and it holds with {shown}"]
    if _distance(found) < _distance(budget):
        return [f"{_do(best.cure)}: the best of {count(len(tried), 'change')} tried, {shown}{ranges}; still broken"]
    return [f"none of {len(tried)} changes that were tried helps" if len(tried) > 1 else "what was tried does not help"]


def _notes(bench: Bench, tried: Sequence[Tried]) -> Iterator[str]:
    """What came of each change, where there are several."""
    for trial, found in tried if len(tried) > 1 else ():
        cure = f"{_where(trial.cure)}{_ranges(bench, trial)}"
        if trial.sampled is None:
            yield f"not tried: {cure}, since the samples for its ranges are not at hand"
        elif found is not None and found.value is not None:
            yield f"tried {cure}: {in_unit(found.value, found.unit)} ({found.source}){_agreement(trial)}"
        else:
            yield f"tried {cure}{_agreement(trial)}, not evaluated"


def _where(cure: Cure) -> str:
    """A change in short."""
    if cure.instead is None:
        return f"`{shortened(cure.add, _WIDEST)}`"
    return f"{f'`{cure.by}`' if cure.by else f'without `{cure.what}`'} on line {cure.instead.line}"


def _agreement(trial: Trial) -> str:
    if trial.agreement is None:
        return ""
    count = "1 sample" if trial.samples == 1 else f"{trial.samples} samples"
    return f", {trial.agreement:.1f} dB to float over {count}"


def _ranges(bench: Bench, trial: Trial) -> str:
    """From how many samples its ranges are, where a compilation would look at more."""
    seen = trial.sampled.seen if trial.sampled is not None else {}
    whole = {name: len(bench.datasets[name]) for name in seen}
    told = [f"{count} of {whole[name]} samples of {name}" for name, count in seen.items() if count < whole[name]]
    return f" with ranges from {', '.join(told)}" if told else ""


def _do(cure: Cure, word: str = "add") -> str:
    return f"{word} `{cure.told}`" if cure.instead is None else cure.told
