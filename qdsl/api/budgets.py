"""Budgets: what a `require` demands against what was measured. What cannot be decided here is undecided, never
passed."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qdsl.diag import Span
from qdsl.lang.recipe import Recipe, Require, Target

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

Name = tuple[str, tuple[str, ...]]  # a metric and its qualifiers: ("latency", ("p50",)), ("f1", ("crack",))


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure that was measured, in base units (fractions, bytes, seconds); the float model's, None where there is
    none; the ends of an interval around `reference - value`; `source` says how it was measured."""

    value: float
    reference: float | None = None
    low: float | None = None
    high: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """One `require` decided for one target. `verdict` is holds, broken or undecided; `value` and `bound` are in base
    units (bytes), None where nothing was measured; `margin` is the share of the bound that is left (negative when
    broken); `low` and `high` are the ends of an interval around `value`, None where there is none."""

    text: str
    verdict: str
    span: Span
    value: float | None = None
    bound: float | None = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    source: str = ""

    @property
    def margin(self) -> float | None:
        if self.value is None or not self.bound:
            return None
        return (self.bound - self.value) / self.bound


def decide_budgets(recipe: Recipe, target: Target, measured: Mapping[Name, Reading]) -> tuple[Budget, ...]:
    """Every budget that holds for `target`, in source order; one in the target block stands before one in `evaluate`
    on the same metric."""
    own = {_key(require) for require in target.requires}
    general = [r for spec in recipe.evaluates for r in spec.requires if _key(r) not in own]
    chosen = sorted([*general, *target.requires], key=lambda r: (r.span.file, r.span.line, r.span.column))
    return tuple(_decide(require, recipe, measured) for require in chosen)


def _key(require: Require) -> tuple[str, tuple[str, ...], str]:
    return (require.metric.name, require.metric.qualifiers, require.form)


def _decide(require: Require, recipe: Recipe, measured: Mapping[Name, Reading]) -> Budget:
    text = _words(require, recipe)
    reading = measured.get((require.metric.name, require.metric.qualifiers))
    if reading is None or require.bound is None or require.comparison is None:
        return Budget(text, "undecided", require.span)
    relative = require.bound.unit == "%"
    value = _formed(require.metric.name, require.form, reading, relative)
    if value is None:
        return Budget(text, "undecided", require.span)
    bound = require.bound.base
    verdict = "holds" if _COMPARE[require.comparison](value, bound) else "broken"
    low, high = _interval(require.form, reading, relative)
    return Budget(text, verdict, require.span, value, bound, require.bound.unit, low, high, reading.source)


def _formed(metric: str, form: str, reading: Reading, relative: bool) -> float | None:
    """The figure that a form of the metric speaks of; None where it needs the float model's and there is none."""
    value, reference = reading.value, reading.reference
    if form == "value":
        return value if not math.isnan(value) else None
    if reference is None or math.isnan(value) or math.isnan(reference):
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
