"""Budgets: what a `require` demands against what was measured. What cannot be decided is undecided, never passed."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TypeVar

from qdsl.diag import Span
from qdsl.harness.measurements import BudgetFacts
from qdsl.harness.profiles import FORMS, Profile
from qdsl.harness.results import FLOAT
from qdsl.lang.recipe import Evaluate, Recipe, Require, Target
from qdsl.lang.vocabulary import METRICS

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
# More of these is faster; of the rest that have a speed-up, less is.
_RATES = frozenset({"throughput"})
_WORST_FIRST = ("broken", "undecided", "holds")
_TASKS = {row.name: row.tasks for row in METRICS}

# What a machine with nothing else to do stays within, from turn to turn.
_CALM = 1.25
Factors = tuple[float, float]
Name = tuple[str, tuple[str, ...]]  # a metric and its qualifiers: ("latency", ("p50",)), ("f1", ("crack",))


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure that was measured, in base units (fractions, bytes, seconds); the float model's, None where there is
    none; the ends of an interval around `reference - value`; `source` says how it was measured. A figure that could not
    be found out is NaN, and `source` says why.

    `spread` are the factors of the value between which it wavered while it was measured, `shared` those of its ratio to
    the reference; `others` is the share of the machine that other work took, where that left too little. `at_least`:
    the figure is that or more, so that it may break a bound from above and hold none."""

    value: float
    reference: float | None = None
    low: float | None = None
    high: float | None = None
    source: str = ""
    spread: Factors = (1.0, 1.0)
    shared: Factors = (1.0, 1.0)
    others: float = 0.0
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Readings:
    """What is known of one build: figures of the whole, and those of each `evaluate` by its words."""

    whole: Mapping[Name, Reading] = field(default_factory=dict)
    evaluated: Mapping[str, Mapping[Name, Reading]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Budget(BudgetFacts):
    """One `require` decided for one target, and its place in the recipe."""

    span: Span


_Facts = TypeVar("_Facts", bound=BudgetFacts)


def decide_budgets(recipe: Recipe, target: Target, measured: Readings) -> tuple[Budget, ...]:
    """Every budget that holds for `target`, in source order; one in the target block stands before one in `evaluate`
    on the same metric. What an `evaluate` measures decides the budgets in it, and no other's; one in the target block
    has to hold in every `evaluate` that measures its metric."""
    own = {_key(require) for require in target.requires}
    general = [(r, (spec,)) for spec in recipe.evaluates for r in spec.requires if _key(r) not in own]
    chosen = [*general, *((require, recipe.evaluates) for require in target.requires)]
    chosen.sort(key=lambda pair: (pair[0].span.file, pair[0].span.line, pair[0].span.column))
    return tuple(_decided(asked(require, recipe), specs, measured) for require, specs in chosen)


def _decided(budget: Budget, specs: Sequence[Evaluate], measured: Readings) -> Budget:
    """The budget by whichever of `specs` measure its metric, else by what is known of the whole build."""
    tasks = _TASKS[budget.metric]
    if not tasks:
        return decide(budget, measured.whole)
    names = dict.fromkeys(spec.words for spec in specs if spec.task in tasks)
    found = [
        decide(replace(budget, statement=name), measured.evaluated.get(name, {}), f"not measured: {name}")
        for name in names
    ]
    return worst(found) if found else budget


def worst(found: Sequence[_Facts]) -> _Facts:
    """Of one budget decided several times, the verdict that counts: of equal ones that with the least margin."""

    def order(budget: _Facts) -> tuple[int, float]:
        return _WORST_FIRST.index(budget.verdict), math.inf if budget.margin is None else budget.margin

    return min(found, key=order)


def cost_readings(found: Profile, where: str) -> dict[Name, Reading]:
    """What a profile says of its artifact beside the float model; `where` says on which machine it was made."""
    ours, floats = found.of(found.target), found.of(FLOAT)
    source = f"measured {where}, {found.runs} run{'' if found.runs == 1 else 's'}"
    spread, shared = (
        spread_of(ours.turns),
        spread_of([one / two for one, two in zip(ours.turns, floats.turns, strict=False)]),
    )
    measured: dict[Name, Reading] = {
        ("latency", (form,)): Reading(
            ours.latency(form), floats.latency(form), None, None, source, spread, shared, found.others
        )
        for form in FORMS
    }
    measured["latency", ()] = measured["latency", ("p50",)]
    pairs: dict[str, tuple[float | None, float | None]] = {
        "throughput": (found.throughput(found.target), found.throughput(FLOAT)),
        "cpu": (ours.cpu, floats.cpu),
        "memory": (ours.peak_memory, floats.peak_memory),
        "energy": (ours.energy, floats.energy),
    }
    for metric, (value, reference) in pairs.items():
        if value is not None and reference is not None:
            measured[metric, ()] = Reading(value, reference, source=source)
    rate = measured["throughput", ()]
    upside = [(1 / high, 1 / low) for low, high in (spread, shared)]
    measured["throughput", ()] = replace(rate, spread=upside[0], shared=upside[1], others=found.others)
    return measured


def spread_of(turns: Sequence[float]) -> Factors:
    """The least and the most of some turns, as factors of the median."""
    middle = median(turns)
    return (min(turns) / middle, max(turns) / middle) if middle > 0 else (1.0, 1.0)


def _key(require: Require) -> tuple[str, tuple[str, ...], str]:
    return (require.metric.name, require.metric.qualifiers, require.form)


def asked(require: Require, recipe: Recipe) -> Budget:
    """A budget of which nothing is known yet."""
    bound = require.bound
    return Budget(
        text=_words(require, recipe),
        verdict="undecided",
        metric=require.metric.name,
        qualifiers=require.metric.qualifiers,
        form=require.form,
        comparison=require.comparison,
        value=None,
        bound=None if bound is None else bound.base,
        unit=None if bound is None else bound.unit,
        low=None,
        high=None,
        source="",
        statement="",
        span=require.span,
    )


def decide(budget: _Facts, measured: Mapping[Name, Reading], absent: str = "") -> _Facts:
    """The same budget by what was measured, whatever decided it before; undecided where that says nothing of it, for
    the reason `absent` where there is no figure."""
    unknown = replace(budget, verdict="undecided", value=None, low=None, high=None, source=absent)
    reading = measured.get((budget.metric, budget.qualifiers))
    if reading is None or budget.bound is None or budget.comparison is None:
        return unknown
    if math.isnan(reading.value):
        return replace(unknown, source=reading.source)
    unknown = replace(unknown, source="")
    relative = budget.unit == "%"
    value = _formed(budget.metric, budget.form, reading, relative)
    if value is None:
        return unknown
    verdict = "holds" if _COMPARE[budget.comparison](value, budget.bound) else "broken"
    if reading.at_least and verdict == ("holds" if budget.comparison.startswith("<") else "broken"):
        return replace(unknown, source=reading.source)
    doubt = _doubt(budget, reading)
    if doubt:
        return replace(unknown, source=doubt)
    low, high = _interval(budget.form, reading, relative)
    return replace(budget, verdict=verdict, value=value, low=low, high=high, source=reading.source)


def _doubt(budget: BudgetFacts, reading: Reading) -> str:
    """Why a verdict on a busy machine is none: between its turns, and without what other work took, the figure lies on
    both sides of the bound. "" where it stands."""
    assert budget.bound is not None and budget.comparison is not None
    low, high = reading.shared if budget.form in ("ratio", "speedup") else reading.spread
    if not reading.others and high <= _CALM * low:
        return ""
    # With a share of the processors to itself, the build takes that share of its time.
    free = max(0.05, 1 - reading.others) if budget.form not in ("ratio", "speedup") else 1.0
    ends = (low, high / free) if budget.metric in _RATES else (low * free, high)
    values = (
        _formed(budget.metric, budget.form, replace(reading, value=reading.value * factor), budget.unit == "%")
        for factor in ends
    )
    if len({_COMPARE[budget.comparison](value, budget.bound) for value in values if value is not None}) < 2:
        return ""
    took = f"other work took {reading.others:.0%} of its processors" if reading.others else ""
    told = took or f"from turn to turn the figure changed by {high / low - 1:.0%}"
    return f"the machine is busy: {told.replace('%', ' %')}"


def _formed(metric: str, form: str, reading: Reading, relative: bool) -> float | None:
    """The figure that a form of the metric speaks of; None where it needs the float model's and there is none."""
    value, reference = reading.value, reading.reference
    if form == "value":
        return value
    if reference is None or math.isnan(reference):
        return None
    if form == "drop":
        return _share(reference - value, reference) if relative else reference - value
    faster = metric in _RATES
    if form == "speedup":
        return _share(value, reference) if faster else _share(reference, value)
    return _share(value, reference)


def _interval(form: str, reading: Reading, relative: bool) -> tuple[float | None, float | None]:
    if form != "drop" or reading.low is None or reading.high is None or math.isnan(reading.low):
        return None, None
    if not relative:
        return reading.low, reading.high
    reference = reading.reference or 0.0
    return _share(reading.low, reference), _share(reading.high, reference)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _words(require: Require, recipe: Recipe) -> str:
    """The recipe's own words, without `require` and on one line."""
    span = require.span
    lines = recipe.sources[span.file].replace("\r\n", "\n").split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return " ".join(" ".join(lines).split()).removeprefix("require ")
