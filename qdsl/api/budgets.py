"""Budgets: what a `require` demands against what was measured. What cannot be decided here is undecided, never
passed."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Budget:
    """One `require` decided for one target. `verdict` is holds, broken or undecided; `value` and `bound` are in base
    units (bytes), None where nothing was measured; `margin` is the share of the bound that is left (negative when
    broken)."""

    text: str
    verdict: str
    span: Span
    value: float | None = None
    bound: float | None = None
    unit: str | None = None

    @property
    def margin(self) -> float | None:
        if self.value is None or not self.bound:
            return None
        return (self.bound - self.value) / self.bound


def decide_budgets(recipe: Recipe, target: Target, measured: Mapping[str, float]) -> tuple[Budget, ...]:
    """Every budget that holds for `target`, in source order; one in the target block stands before one in `evaluate`
    on the same metric. `measured` maps (metric or "metric form") to a value in base units, such as "size" in bytes."""
    own = {_key(require) for require in target.requires}
    general = [r for spec in recipe.evaluates for r in spec.requires if _key(r) not in own]
    chosen = sorted([*general, *target.requires], key=lambda r: (r.span.file, r.span.line, r.span.column))
    return tuple(_decide(require, recipe, measured) for require in chosen)


def _key(require: Require) -> tuple[str, tuple[str, ...], str]:
    return (require.metric.name, require.metric.qualifiers, require.form)


def _decide(require: Require, recipe: Recipe, measured: Mapping[str, float]) -> Budget:
    text = _words(require, recipe)
    name = require.metric.name if require.form == "value" else f"{require.metric.name} {require.form}"
    if name not in measured or require.bound is None or require.comparison is None:
        return Budget(text, "undecided", require.span)
    value, bound = measured[name], require.bound.base
    verdict = "holds" if _COMPARE[require.comparison](value, bound) else "broken"
    return Budget(text, verdict, require.span, value, bound, require.bound.unit)


def _words(require: Require, recipe: Recipe) -> str:
    """The recipe's own words, without `require` and on one line."""
    span = require.span
    lines = recipe.sources[span.file].replace("\r\n", "\n").split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return " ".join(" ".join(lines).split()).removeprefix("require ")
