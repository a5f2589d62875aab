"""What is told of trials and of the one that was taken."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Sequence

from qdsl.allocate.task import Task
from qdsl.allocate.width_goals import figure
from qdsl.cascade.carried import limit_text
from qdsl.diag import Diagnostic, Severity
from qdsl.lang.recipe import Allocate
from qdsl.spec.allocation import Allocation, Held, Raced, Trial
from qdsl.spec.words import count
from qdsl.work.assigned import Given

CHANCE = " (may be chance)"


def progress(trial: Trial, done: int, most: int) -> str:
    """One trial as it is told while others follow."""
    return f"{done} of {most}: {words(trial)}"


def words(trial: Trial) -> str:
    """A trial in one line: its bounds, the share in integers, how fast."""
    if trial.why:
        return f"cannot be built: {trial.why}"
    told = [_held(each) for each in trial.held]
    told.append(f"{trial.integer_share:.0%} of MACs in integers".replace("%", " %"))
    told += [_raced(trial.raced)] if trial.raced is not None else []
    return ", ".join(told)


def _held(each: Held) -> str:
    mark = {True: CHANCE if each.by_chance else "", False: " (broken)", None: " (not measured)"}[each.holds]
    if math.isnan(each.value):
        return f"{each.text}:{mark or ' not known'}"
    of = f" of {_figure(each, each.reference)}" if each.reference is not None else ""
    ends = f" [{_pp(each.low)}, {_pp(each.high)}]" if each.low is not None and each.high is not None else ""
    return f"{each.text}: {_figure(each, each.value)}{of}{ends}{mark}"


def _figure(each: Held, value: float) -> str:
    """A figure of a bound, times in milliseconds."""
    return f"{1e3 * value:.4g} ms" if each.text.startswith("latency ") else figure(value)


def _pp(value: float) -> str:
    return f"{100 * value:.1f}"


def _raced(raced: Raced) -> str:
    return f"{raced.milliseconds:.3g} ms, {raced.ratio:.2f}x of float [{raced.low:.2f}, {raced.high:.2f}]"


def evidence(found: Allocation, taken: Trial) -> str:
    """What shows that the taken trial is good, for the lock."""
    last = found.last or taken.raced
    told = [_held(each) for each in taken.held]
    told.append(f"{taken.integer_share:.1%} of MACs in integers".replace("%", " %"))
    told += [_raced(last)] if last is not None else []
    return f"{', '.join(told)}; {count(len(found.trials), 'evaluation')}"


def nearest(trials: Sequence[Trial]) -> tuple[str, ...]:
    """The trial that is least outside the bounds."""
    able = [trial for trial in trials if not trial.why]
    if not able:
        return tuple(dict.fromkeys(f"cannot be built: {trial.why}" for trial in trials))[:3]
    best = max(able, key=lambda trial: trial.margin)
    return (f"the nearest: {words(best)}",)


def warnings(task: Task, found: Allocation, taken: Trial) -> Iterator[Diagnostic]:
    """What whoever asked for a low latency has to know of the result."""
    if task.spec.minimize != "latency":
        return
    last = found.last or taken.raced
    if last is None:
        headline = f"latency of {task.target} is not measured here: types are chosen for few multiplications in float"
        yield Diagnostic("allocate-predicted", headline, task.spec.header, severity=Severity.WARNING)
    elif last.low <= 1.0:
        words, saved = ("may be no", "little") if last.ratio > 1.0 else ("is not", "no")
        headline = f"with the types that hold the bounds {task.target} {words} faster than the float model here"
        headline += f": {_raced(last)}"
        label = f"integers save {saved} time on this processor"
        yield Diagnostic("allocate-slower", headline, task.spec.header, label, severity=Severity.WARNING)


def in_float(spec: Allocate, given: Iterable[Given]) -> Iterator[Diagnostic]:
    """A warning for each target of which nothing is quantized, whatever found that."""
    for plan in (each.decisions.plan for each in given):
        if not (plan.tensors or plan.weights or plan.halves or plan.half_weights):
            headline = f"`allocate` leaves all of {plan.target} in float: nothing of that build is quantized"
            help = ("float loses least: bound what is to be small, as in `minimize loss under size <= 1.5 MB`",)
            if spec.minimize not in (None, "loss") and any(limit.data is not None for limit in spec.limits):
                help = ("nothing else that was tried keeps to the bounds: loosen them, or offer more types",)
            yield Diagnostic("allocate-float", headline, spec.header, help=help, severity=Severity.WARNING)


def no_bound(task: Task, trials: Sequence[Trial]) -> Iterator[Diagnostic]:
    """That none of the trials keeps to every bound, with the nearest."""
    limits = [limit for limit in task.spec.limits if limit.data is not None] or list(task.spec.limits)
    span = limits[0].require.span if limits else task.spec.header
    measured = "1 was measured" if len(trials) == 1 else f"{len(trials)} were measured"
    headline = f"no choice of types for {task.target} keeps to the bounds: {measured}"
    texts = frozenset(limit_text(limit) for limit in task.spec.limits if limit.data is not None)
    better = f", or {_BETTER.get(task.spec.what, _RANGES)}" if any(_broken(each, texts) for each in trials) else ""
    notes = (*nearest(trials), *_beside(trials, texts))
    yield Diagnostic("allocate-bound", headline, span, help=(f"loosen the bound{better}",), notes=notes)


def _broken(trial: Trial, texts: Container[str]) -> bool:
    """Whether it breaks a bound of these words."""
    return any(each.holds is False and each.text in texts for each in trial.held)


def _beside(trials: Sequence[Trial], texts: Container[str]) -> Iterator[str]:
    """Where no multiplication in integers is left, what other rules of the recipe quantize breaks a bound on data."""
    floats = next((each for each in trials if not each.why and each.macs and not each.integer_share), None)
    if floats is not None and _broken(floats, texts):
        yield f"with every layer in float, what other rules quantize still costs it: {words(floats)}"


_RANGES = "give it what holds: `calibrate mse`, `improve { bias_correct }`"
_BETTER = {"weights": "offer wider types, or more `evaluations`"}
