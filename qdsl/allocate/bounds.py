"""The bounds of `allocate`: on what they are held, and whether figures keep to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl import data
from qdsl.allocate.task import Task
from qdsl.allocate.width_costs import MEASURES
from qdsl.cascade.carried import limit_text
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.harness.tasks import Expected, task_for
from qdsl.harness.tasks.base import require_labels
from qdsl.harness.tasks.python import loaded
from qdsl.lang.recipe import Allocate, Evaluate, Limit, Recipe
from qdsl.lang.vocabulary import METRICS
from qdsl.measure.budgets import Budget, Reading, asked, decide
from qdsl.measure.expecting import expect
from qdsl.work.prepared import Prepared, takes

_TASKS = {row.name: row.tasks for row in METRICS}
# What is known of a build without any data.
FIGURES = frozenset({"size", "latency", "throughput", "macs", "integer_share"})
# By what `allocate` speaks of the figures that it can hold where no data decides: an emulated width leaves file and
# time as they are.
_HELD = {"activations": frozenset(MEASURES)}
_GOALS = {
    "weights": ("loss", "size"),
    "layers": ("loss", "size", "latency", "macs"),
    "activations": ("loss", *MEASURES),
}
_WITHOUT_SETTINGS = ("fidelity", "classification")  # tasks that read outputs without being told how


@dataclass(frozen=True, slots=True)
class Figure:
    """What a bound speaks of, measured: the metric's `value` in its own unit, the float model's, and how far inside the
    bound it lies (negative: outside), in the bound's form, as `spec.allocation.Held` says. `holds` None: it cannot be
    told."""

    text: str
    value: float
    reference: float | None
    margin: float | None
    holds: bool | None


def require_sound(recipe: Recipe) -> Iterator[Diagnostic]:
    """What is wrong with the bounds of a recipe's `allocate`, before any model or data is looked at."""
    spec = recipe.allocate
    if spec is None:
        return
    yield from _goals(spec)
    reported = {each.data for each in recipe.evaluates}
    figures = _HELD.get(spec.what, FIGURES)
    for limit in spec.limits:
        name, span, text = limit.require.metric.name, limit.require.span, limit_text(limit)
        if limit.require.form not in ("value", "holds") and (name == "integer_share" or _TASKS[name] == ("fidelity",)):
            headline = f"`{text}` is never decided: the float model has no `{name}` of its own"
            help = (f"bound `{name}` itself, without `{limit.require.form}`",)
            yield Diagnostic("allocate-bound", headline, span, help=help)
        elif _TASKS[name] and limit.data is None:
            headline = f"`{text}` does not say on which data it is held"
            help = (f"write `{text} on DATA`: other data than `evaluate` reports on",)
            yield Diagnostic("allocate-data", headline, span, help=help)
        elif _TASKS[name] and limit.data in reported:
            headline = f"`{limit.data}` would choose the types, and `evaluate` report on it"
            help = ("name data of its own: figures on data that chose are better than those to come",)
            yield Diagnostic("allocate-data", headline, span, help=help)
        elif not _TASKS[name] and name not in figures:
            headline = f"`allocate {spec.what}` cannot hold a bound on `{name}`"
            known = ", ".join(f"`{each}`" for each in sorted(figures))
            yield Diagnostic("allocate-data", headline, span, help=(f"it holds metrics of tasks, and {known}",))
        elif limit.data is not None and not _TASKS[name]:
            headline = f"`{name}` is of the whole build, whatever the data"
            yield Diagnostic("allocate-data", headline, span, help=(f"take `on {limit.data}` out",))
        elif _TASKS[name] and _evaluated(recipe, limit) is None:
            headline = f"nothing says how the outputs are read for `{name}`"
            task = _TASKS[name][-1]
            help = (f"write `evaluate {task} on OTHER {{ .. }}`: its settings hold here, too",)
            yield Diagnostic("allocate-evaluate", headline, span, help=help)


def _goals(spec: Allocate) -> Iterator[Diagnostic]:
    known, asked = _GOALS[spec.what], spec.sensitivity
    if spec.minimize is not None and spec.minimize not in known:
        headline = f"`allocate {spec.what}` does not minimize {spec.minimize}"
        help = (f"it minimizes {', '.join(f'`{each}`' for each in known)}",)
        yield Diagnostic("allocate-bound", headline, spec.header, help=help)
    if spec.what != "weights" and asked is not None and asked.method != "sqnr":
        decided = "decides none" if spec.what == "activations" else "decides activations, too"
        headline = f"`sensitivity {asked.method}` speaks of weights alone, and `allocate {spec.what}` {decided}"
        help = (f"write `sensitivity sqnr on {asked.data}`",)
        yield Diagnostic("sensitivity-weights", headline, asked.span, help=help)


def _evaluated(recipe: Recipe, limit: Limit) -> Evaluate | None:
    """How the metric of a bound is measured: as the recipe's `evaluate` of that task does, on the data of the bound."""
    tasks, name = _TASKS[limit.require.metric.name], limit.data
    assert name is not None
    for spec in recipe.evaluates:
        if spec.task in tasks:
            return replace(spec, data=name, measure=(), profile=None, requires=(), corrupt=None)
    plain = next((task for task in tasks if task in _WITHOUT_SETTINGS), None)
    return None if plain is None else Evaluate(plain, name, limit.require.span)


def asked_of(recipe: Recipe) -> list[tuple[Evaluate, tuple[Limit, ...]]]:
    """What is measured for the bounds of a recipe's `allocate` on metrics, and which of them each decides."""
    found: dict[Evaluate, list[Limit]] = {}
    for limit in recipe.allocate.limits if recipe.allocate is not None else ():
        if _TASKS[limit.require.metric.name]:
            spec = _evaluated(recipe, limit)
            assert spec is not None, "`require_sound` has seen to it"
            found.setdefault(spec, []).append(limit)
    rows = found.items()
    return [
        (replace(spec, measure=tuple(one.require.metric for one in limits)), tuple(limits)) for spec, limits in rows
    ]


def expected_of(
    prepared: Prepared, datasets: Mapping[str, Dataset], allow_python: bool
) -> list[tuple[Expected, tuple[Limit, ...]]]:
    """What is measured for the bounds on metrics, and which of them each decides. Raises QdslError evaluate-*,
    python-*, data-* for data that does not fit the task."""
    made = []
    for spec, limits in asked_of(prepared.recipe):
        python = loaded(spec, Path(prepared.recipe.path).parent, allowed=allow_python)
        expected = expect(prepared, spec, datasets[spec.data], python)
        task_for(expected)
        if spec.task != "fidelity":
            require_labels(expected)
        made.append((expected, limits))
    return made


def tell_shared(task: Task, found: Iterable[Expected]) -> None:
    """A warning where samples that choose are among those that `evaluate` reports on; raises QdslError allocate-data
    where all of them are."""
    recipe = task.prepared.recipe
    for expected in found:
        own = _files(expected.dataset)
        for name in dict.fromkeys(spec.data for spec in recipe.evaluates):
            try:
                other = data.open(recipe.dataset(name), recipe.inputs, takes(task.prepared), Diagnostics())
            except QdslError:
                continue  # it is told where it is evaluated
            both = len(own & _files(other))
            if both:
                task.diags.add(_shared(task.spec, expected, name, both, len(own)))
    task.diags.raise_errors()


def _files(dataset: Dataset) -> set[tuple[Path, str]]:
    return {(dataset.file(at)[1].resolve(), name) for at, name in enumerate(dataset.ids)}


def _shared(spec: Allocate, expected: Expected, name: str, both: int, own: int) -> Diagnostic:
    chosen = expected.data.name
    told = f"all {both} samples of {chosen}" if both == own else f"{both} of the {own} samples of {chosen}"
    headline = f"{told}, on which `allocate` chooses, are in {name}, on which `evaluate` reports"
    limit = next(each for each in spec.limits if each.data == chosen)
    help = (f"take them out of {name}: figures on data that chose are better than those to come",)
    return Diagnostic("allocate-shared", headline, limit.require.span, help=help, severity=Severity.WARNING)


def judged(recipe: Recipe, limit: Limit, reading: Reading) -> Figure:
    """A bound by what was measured of its metric."""
    metric = limit.require.metric
    found = decide(asked(limit.require, recipe), {(metric.name, metric.qualifiers): reading})
    holds = None if found.verdict == "undecided" else found.verdict == "holds"
    return Figure(limit_text(limit), reading.value, reading.reference, _margin(found, reading.reference), holds)


def _margin(found: Budget, reference: float | None) -> float | None:
    """How far inside its bound a figure lies, relative to the bound; of a bound of 0, relative to the float model's
    figure, or in the unit of a drop or a share. None for a figure that is not known."""
    value, bound = found.value, found.bound
    if value is None or bound is None or found.comparison is None:
        return None
    if found.comparison in ("==", "!="):
        left = -abs(value - bound) if found.comparison == "==" else 0.0
    else:
        left = bound - value if found.comparison.startswith("<") else value - bound
    alone = abs(reference or 0.0) if found.form == "value" else 0.0
    return left / (abs(bound) or alone or 1.0)
