"""`measure`, `profile` and `require`: metrics by name, bounds with units that fit."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.lang import syntax
from qdsl.lang.expect import told
from qdsl.lang.recipe import Metric, Profile, Require
from qdsl.lang.scope import Scope, shown
from qdsl.lang.units import unit_fits
from qdsl.lang.values import Plain, fit, table
from qdsl.lang.vocabulary import FORMS, METRICS, MetricRow
from qdsl.spec import Quantity

_ROWS = {row.name: row for row in METRICS}
_OVER_ONE = frozenset({"cpu"})  # of several processors


def metric(found: syntax.Metric, task: str | None, scope: Scope) -> tuple[Metric, str] | None:
    """A metric and its form ("value", "drop", "ratio", "speedup"); None after an error. `task` is the `evaluate` it
    stands in."""
    row = _ROWS.get(found.name.name)
    if row is None:
        scope.unknown("metric", found.name.name, found.name.span, _ROWS)
        return None
    if task is not None and row.tasks and task not in row.tasks:
        label = f"it belongs to {told([f'`{t}`' for t in row.tasks], 'and')}"
        scope.error("wrong-metric", f"`{task}` does not measure `{row.name}`", found.name.span, label)
        return None
    form, qualifiers = "value", list(found.qualifiers)
    if qualifiers and isinstance(qualifiers[-1], syntax.Word) and qualifiers[-1].name in FORMS:
        form = shown(qualifiers.pop())
    for said in qualifiers:
        if not _qualifies(said, row):
            _wrong_qualifier(said, row, scope)
            return None
    if not _one_figure(found, qualifiers, row, scope):
        return None
    words = tuple(q.value if isinstance(q, syntax.Text) else q.name for q in qualifiers)
    return Metric(row.name, words, found.span), form


def _qualifies(said: syntax.Word | syntax.Text, row: MetricRow) -> bool:
    if isinstance(said, syntax.Text):
        return any(q.isupper() for q in row.qualifiers)
    return said.name in row.qualifiers and not said.name.isupper()


def _one_figure(
    found: syntax.Metric, qualifiers: Sequence[syntax.Word | syntax.Text], row: MetricRow, scope: Scope
) -> bool:
    """Whether the words name one figure: two classes are two figures, and a metric of a class alone needs its name."""
    if len(qualifiers) > 1:
        label = "expected one: each class or output is a metric of its own"
        cure = ", ".join(dict.fromkeys(f"{row.name} {_written(said)}" for said in qualifiers[:3]))
        headline = f"`{row.name}` takes one `{_written(qualifiers[0])[:60]}` or the like, not {len(qualifiers)}"
        scope.error("wrong-metric", headline, qualifiers[1].span, label, (f"write `{cure}`",))
        return False
    if row.whole and not qualifiers:
        cure = f'write `{row.name} "class"`, or `{row.whole}` for all of them'
        scope.error(
            "wrong-metric", f"`{row.name}` speaks of one class", found.span, "expected a class in quotes", (cure,)
        )
        return False
    return True


def _written(said: syntax.Word | syntax.Text) -> str:
    return f'"{said.value}"' if isinstance(said, syntax.Text) else said.name


def _wrong_qualifier(said: syntax.Word | syntax.Text, row: MetricRow, scope: Scope) -> None:
    allowed = [f"`{q}`" for q in row.qualifiers if not q.isupper()]
    allowed += [f"a {q.lower()} in quotes" for q in row.qualifiers if q.isupper()]
    allowed += [f"`{form}`" for form in FORMS] if row.measures != "holds" else []
    label = f"expected {told(allowed, 'or')} or a comparison"
    scope.error("wrong-metric", f"`{row.name}` takes no `{shown(said)[:60]}`", said.span, label)


def metrics(statement: syntax.Measure | syntax.Profile, task: str | None, scope: Scope) -> tuple[Metric, ...]:
    """The metrics of a `measure` (of answers) or a `profile` (of the machine); wrong ones are reported and left out."""
    kept = []
    answers = isinstance(statement, syntax.Measure)
    for one in statement.metrics:
        got = metric(one, task, scope)
        if got is None:
            continue
        name, form = got
        if form != "value":
            scope.error("wrong-metric", f"`{form}` belongs to `require`", one.span, "expected a metric alone")
        elif bool(_ROWS[name.name].tasks) != answers:
            word = "measure" if answers else "profile"
            other = "no answers of the task" if answers else "of answers, not of the machine"
            cure = f"write `{'profile' if answers else 'measure'} {name.name}`, or `require` it"
            scope.error("wrong-metric", f"`{word}` does not take `{name.name}`", one.span, f"it is {other}", (cure,))
        else:
            kept.append(name)
    return tuple(kept)


def plain_settings(
    block: str, body: Sequence[syntax.Setting], scope: Scope
) -> tuple[tuple[str, int | float | str], ...]:
    """Settings of one value each, as (name, value)."""
    found: list[tuple[str, Plain]] = []
    for setting, forms in table(block, body, scope):
        got = fit(setting, forms, scope)
        if got is not None:
            found.append((setting.word.name, got[0][0]))
    return tuple(found)


def profile(found: syntax.Profile, task: str | None, scope: Scope) -> Profile:
    """`profile latency, memory { runs 200 }`."""
    return Profile(metrics(found, task, scope), plain_settings("profile", found.body, scope), found.span)


def require(found: syntax.Require | syntax.Bound, task: str | None, scope: Scope) -> Require | None:
    """A budget; None after an error."""
    what = found.what if isinstance(found, syntax.Require) else found
    got = metric(what if isinstance(what, syntax.Metric) else what.metric, task, scope)
    if got is None:
        return None
    name, form = got
    measures = _ROWS[name.name].measures
    level = scope.level(found.span)
    if isinstance(what, syntax.Metric):
        if measures == "holds" and name.qualifiers:
            return Require(name, "holds", None, None, found.span, level)
        cures = ("require qdq survives",) if measures == "holds" else (f"such as `require {name.name} <= ...`",)
        scope.error("bound-missing", f"`require {name.name}` says no bound", what.span, "expected a comparison", cures)
        return None
    if measures == "holds":
        scope.error("wrong-metric", f"`{name.name}` holds or not: it has no bound", what.span)
        return None
    bound = _bound(what.value, measures, form, scope)
    if bound is None or not _in_reach(name, form, what, bound, scope):
        return None
    return Require(name, form, what.comparison, bound, found.span, level)


def _in_reach(name: Metric, form: str, what: syntax.Bound, bound: Quantity, scope: Scope) -> bool:
    """Whether a share may be as large as its bound asks; an error (wrong-unit) where no share is."""
    shares = _ROWS[name.name].measures == "ratio" and name.name not in _OVER_ONE
    over = bound.base > 1 or (bound.base == 1 and what.comparison == ">")
    if not (shares and form == "value" and over and what.comparison in (">", ">=", "==")):
        return True
    cures = (
        (f"write `{bound.value:g} %`",) if bound.unit is None and bound.base <= 100 else ("write a share up to 100 %",)
    )
    scope.error("wrong-unit", f"`{name.name}` is never over 1, that is 100 %", what.value.span, "no share is", cures)
    return False


def _bound(value: syntax.Value, measures: str, form: str, scope: Scope) -> Quantity | None:
    """The number of a bound, its unit fitting the metric and form."""
    got = scope.value(value)
    if got is None:
        return None
    if not isinstance(got, syntax.Number):
        scope.error("setting-value", f"`{shown(got)}` is not a number", got.span, "expected a number")
        return None
    return Quantity(got.value, got.unit) if unit_fits(got, measures, form, scope) else None
