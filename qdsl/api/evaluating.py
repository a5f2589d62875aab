"""`evaluate` statements carried out: the float model and every artifact on the recipe's data, beside one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from qdsl import data
from qdsl.api import comparing
from qdsl.api.budgets import Name, Reading
from qdsl.api.prepare import Prepared
from qdsl.data.corrupt import Corruption, corrupted
from qdsl.diag import Diagnostic, QdslError, Report, Severity
from qdsl.graph import save
from qdsl.harness import FLOAT, Evaluation, evaluate
from qdsl.harness.tasks import Expected, task_for
from qdsl.harness.tasks.base import require_labels
from qdsl.lang.recipe import Evaluate, InputSpec, Metric, Recipe
from qdsl.lang.vocabulary import METRICS
from qdsl.lock import complete
from qdsl.targets import Runner, target_module
from qdsl.targets.results import Emitted

Heard = Callable[[str, int, int], None]


def planned(prepared: Prepared, report: Report, *, needed: bool) -> tuple[Expected, ...]:
    """Every `evaluate` of the recipe with its data opened, before anything is measured or written.

    Data that is not there is an error where it is `needed`, else a note: what it would decide stays undecided. Raises
    QdslError with everything that does not fit: evaluate-*, data-*.
    """
    errors = Report()
    found = []
    for spec in prepared.recipe.evaluates:
        try:
            expected = _opened(prepared, spec, report, needed)
            if expected is not None:
                task_for(expected)
                if spec.task != "fidelity":
                    require_labels(expected)
                found += [expected, *_changed(expected)]
        except QdslError as error:
            errors.extend(error.diagnostics)
    errors.raise_errors()
    return tuple(found)


def _changed(expected: Expected) -> Iterator[Expected]:
    """The same on pictures that are changed, for each kind and severity of the statement's `corrupt`."""
    wanted = expected.spec.corrupt
    if wanted is None:
        return
    for kind in wanted.kinds:
        for severity in wanted.severities:
            change = Corruption(kind, severity)
            dataset = corrupted(expected.dataset, change)
            if dataset is None:
                headline = f"`corrupt` changes pictures, and dataset {expected.data.name} holds other arrays"
                help = ("take `corrupt` out, or store uint8 arrays of shape [samples, height, width, 3]",)
                raise QdslError([Diagnostic("evaluate-corrupt", headline, wanted.span, help=help)])
            yield replace(expected, dataset=dataset, condition=str(change))


def evaluations(
    prepared: Prepared, expected: Sequence[Expected], built: Mapping[str, Emitted], heard: Heard
) -> tuple[Evaluation, ...]:
    """Every planned `evaluate` on the float model and the artifacts in `built` (by target).

    `heard` is told the task and its data, and samples done of all. Raises QdslError: evaluate-* for outputs that a task
    cannot read, data-* and image-* for samples, artifact-refused.
    """
    if not expected:
        return ()
    with _runners(prepared, built) as builds:
        return tuple(_carried_out(one, builds, heard) for one in expected)


def _carried_out(expected: Expected, builds: Mapping[str, Runner], heard: Heard) -> Evaluation:
    changed = f", {expected.condition}" if expected.condition else ""
    name = f"{expected.spec.task} on {expected.data.name}{changed}"
    return evaluate(expected, builds, lambda done, total: heard(name, done, total))


def _opened(prepared: Prepared, spec: Evaluate, report: Report, needed: bool) -> Expected | None:
    recipe = prepared.recipe
    statement = recipe.dataset(spec.data)
    try:
        dataset = data.open(statement, recipe.inputs, comparing.takes(prepared), report)
    except QdslError as error:
        if needed:
            raise
        reason = error.diagnostics[0].headline
        report.add(_left_out(spec, reason))
        return None
    if not needed and not complete(dataset):
        report.add(_left_out(spec, f"files of dataset {spec.data} are not there"))
        return None
    outputs = tuple(dict.fromkeys(prepared.view.outputs))
    return Expected(spec, statement, dataset, _picture(prepared), outputs, _metrics(recipe, spec))


def _metrics(recipe: Recipe, spec: Evaluate) -> tuple[Metric, ...]:
    """What the recipe measures or bounds with this statement: metrics of its task, here and in target blocks."""
    bounded = [r.metric for r in (*spec.requires, *(r for target in recipe.targets for r in target.requires))]
    own = {row.name for row in METRICS if spec.task in row.tasks}
    return tuple(metric for metric in (*spec.measure, *bounded) if metric.name in own)


def _left_out(spec: Evaluate, reason: str) -> Diagnostic:
    headline = f"`evaluate {spec.task} on {spec.data}` is left out, and what it decides undecided"
    return Diagnostic("evaluate-left-out", headline, spec.span, notes=(reason,), severity=Severity.NOTE)


def _picture(prepared: Prepared) -> InputSpec | None:
    """The `input` block of the model's only input."""
    inputs = prepared.view.inputs
    blocks = [spec for spec in prepared.recipe.inputs if spec.name in (None, *inputs)]
    return blocks[0] if len(blocks) == 1 and len(inputs) == 1 else None


@contextmanager
def _runners(prepared: Prepared, built: Mapping[str, Emitted]) -> Iterator[dict[str, Runner]]:
    """The float model and the artifacts, each with the threads that its target asks for."""
    threads = {target.name: target.threads for target in prepared.recipe.targets}
    with TemporaryDirectory(prefix="qdsl-") as folder:
        path = Path(folder) / "float.onnx"
        save(prepared.model, path)
        builds = {FLOAT: target_module("ort").float_runner(path)}
        yield builds | {name: target_module(name).runner(found, threads.get(name)) for name, found in built.items()}


def readings(evaluated: Sequence[Evaluation], build: str) -> dict[str, dict[Name, Reading]]:
    """What the evaluations say of one build, for its budgets, by the words of their statements."""
    found: dict[str, dict[Name, Reading]] = {}
    for evaluation in (each for each in evaluated if not each.condition):
        scores, floats = evaluation.of(build), evaluation.of(FLOAT).scores
        source = f"measured, {evaluation.samples} samples of {evaluation.data}"
        for key, value in scores.scores.items():
            drop = scores.drops.get(key)
            reference = floats.get(key) if scores.drops else None
            low, high = (drop.low, drop.high) if drop is not None else (None, None)
            name = key.metric, (key.of,) if key.of else ()
            found.setdefault(evaluation.statement, {})[name] = Reading(value, reference, low, high, source)
    return found
