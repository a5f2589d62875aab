"""`evaluate` statements carried out: the float model and every artifact on the recipe's data, beside one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from qdsl import data
from qdsl.data.corrupt import Corruption, corrupted
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity, Span
from qdsl.graph import save
from qdsl.harness import FLOAT, Evaluation, evaluate
from qdsl.harness.tasks import Case, Expected, task_for
from qdsl.harness.tasks.base import require_labels
from qdsl.harness.tasks.python import loaded
from qdsl.harness.tasks.segmentation import require_masks
from qdsl.lang.recipe import Evaluate
from qdsl.lock import complete
from qdsl.measure.budgets import Name, Reading
from qdsl.measure.expecting import expect, require_pictures, told
from qdsl.spec.plan import AS_IT_IS
from qdsl.spec.scratch import scratch
from qdsl.spec.words import plain
from qdsl.targets import reference, target_of
from qdsl.targets.base import Runner
from qdsl.targets.results import Emitted, NotHere
from qdsl.work.prepared import Prepared, takes

Heard = Callable[[str, int, int], None]
Known = Callable[[Evaluation], None]


def planned(
    prepared: Prepared, diags: Diagnostics, *, needed: bool, allow_python: bool | None = None
) -> tuple[Expected, ...]:
    """Every `evaluate` of the recipe with its data opened, before anything is measured or written.

    Data that is not there is an error where it is `needed`, else a note: what it would decide stays undecided. What
    `decode python` names is imported where `allow_python` is set, and refused where it is False; None: nothing is to
    run. Raises QdslError with everything that does not fit:
    evaluate-*, data-*, python-*.
    """
    errors = Diagnostics()
    found = []
    for spec in prepared.recipe.evaluates:
        try:
            expected = _opened(prepared, spec, diags, needed, allow_python)
            if expected is not None:
                diags.extend(told(expected))
                _require_readable(expected)
                found += [expected, *_changed(expected)]
        except QdslError as error:
            errors.extend(error.diagnostics)
    errors.raise_errors()
    if allow_python is not None:
        _try(prepared, [each for each in found if not each.condition and _is_open(each)])
    return tuple(found)


def _is_open(expected: Expected) -> bool:
    """Whether only a run of the model shows that the task can read its outputs: the graph leaves a shape open, or the
    recipe's own code reads them."""
    names = expected.spec.output or expected.outputs
    return expected.python is not None or any(expected.known[name].plain is None for name in names)


def _try(prepared: Prepared, found: Sequence[Expected]) -> None:
    """Raises QdslError, evaluate-*, python-*, where a task cannot read what the model says of its first sample."""
    if not found:
        return
    with _runners(prepared, {}, Diagnostics()) as builds:
        for expected in found:
            sample = expected.dataset.sample(0)
            outputs = builds[FLOAT].run(sample.arrays)
            task_for(expected).answer(outputs, Case(sample, outputs))


def _require_readable(expected: Expected) -> None:
    """Raises QdslError with what headers, labels and masks say against any sample: a picture is decoded when it is
    evaluated."""
    require_pictures(expected)
    data.look(expected.dataset, expected.data)
    if expected.spec.task != "fidelity":
        require_labels(expected)
    if expected.spec.task == "segmentation":
        require_masks(expected)


def _changed(expected: Expected) -> Iterator[Expected]:
    """The same on pictures that are changed, for each kind and severity of the statement's `corrupt`."""
    wanted = expected.spec.corrupt
    if wanted is None:
        return
    for kind in wanted.kinds:
        for severity in wanted.severities:
            change = Corruption(kind, severity)
            dataset = corrupted(expected.dataset, change)
            assert dataset is not None, "require_pictures has seen to it"
            yield replace(expected, dataset=dataset, condition=str(change))


def evaluations(
    prepared: Prepared,
    expected: Sequence[Expected],
    built: Mapping[str, Emitted],
    heard: Heard,
    diags: Diagnostics,
    known: Known = lambda found: None,
    target: str | None = None,
) -> tuple[Evaluation, ...]:
    """Every planned `evaluate` on the float model and the artifacts in `built` (by target, or by any name where all are
    for `target`) that run here; `diags` says which do not.

    `heard` is told the task and its data, and samples done of all; `known` each result as soon as it is. Raises
    QdslError: evaluate-* for outputs that a task cannot read, data-* and image-* for samples, artifact-refused.
    """
    if not expected:
        return ()
    with _runners(prepared, built, diags, target) as builds:
        stand_ins = {name: target_of(target or name).runs_as(builds[name]) for name in built if name in builds}
        return tuple(_carried_out(one, builds, stand_ins, heard, known) for one in expected)


def _carried_out(
    expected: Expected, builds: Mapping[str, Runner], stand_ins: Mapping[str, str], heard: Heard, known: Known
) -> Evaluation:
    changed = f", {expected.condition}" if expected.condition else ""
    name = f"{expected.spec.task} on {expected.data.name}{changed}"
    found = evaluate(expected, builds, lambda done, total: heard(name, done, total))
    told = (replace(build, instead=stand_ins.get(build.build, "")) for build in found.builds)
    found = replace(found, builds=tuple(told))
    known(found)
    return found


def _opened(
    prepared: Prepared, spec: Evaluate, diags: Diagnostics, needed: bool, allow_python: bool | None
) -> Expected | None:
    recipe = prepared.recipe
    statement = recipe.dataset(spec.data)
    try:
        dataset = data.open(statement, recipe.inputs, takes(prepared), diags)
    except QdslError as error:
        if needed:
            raise
        reason = error.diagnostics[0].headline
        diags.add(_left_out(spec, reason))
        return None
    if not needed and not complete(dataset):
        diags.add(_left_out(spec, f"files of dataset {spec.data} are not there"))
        return None
    python = None
    if allow_python is not None:
        python = loaded(spec, Path(recipe.path).parent, allowed=allow_python)
    return expect(prepared, spec, dataset, python)


def _left_out(spec: Evaluate, reason: str) -> Diagnostic:
    headline = f"`evaluate {spec.task} on {spec.data}` is left out, and what it decides undecided"
    return Diagnostic("evaluate-left-out", headline, spec.span, notes=(reason,), severity=Severity.NOTE)


@contextmanager
def _runners(
    prepared: Prepared, built: Mapping[str, Emitted], diags: Diagnostics, target: str | None = None
) -> Iterator[dict[str, Runner]]:
    """The float model and the artifacts, each with the threads that its target asks for. One that does not run here is
    left out, and told."""
    blocks = {block.name: block for block in prepared.recipe.targets}
    targets = {name: target or name for name in built}
    with scratch() as folder:
        path = folder / "float.onnx"
        save(prepared.floats, path)
        mode = prepared.recipe.mode
        as_written = mode is not None and mode.kind == AS_IT_IS
        builds = {FLOAT: reference().float_runner(path, as_written=as_written, span=prepared.model.span)}
        for name, found in built.items():
            block = blocks.get(targets[name])
            runner = target_of(targets[name]).runner(found, block.threads if block is not None else None)
            if isinstance(runner, NotHere):
                diags.add(_elsewhere(targets[name], runner, block.span if block is not None else prepared.recipe.span))
            else:
                builds[name] = runner
        yield builds


def _elsewhere(target: str, found: NotHere, span: Span) -> Diagnostic:
    headline = f"`evaluate` is left out for {target}, and what it decides undecided: {plain(found.why)}"
    return Diagnostic("evaluate-left-out", headline, span, severity=Severity.WARNING)


def readings(evaluated: Sequence[Evaluation], build: str) -> dict[str, dict[Name, Reading]]:
    """What the evaluations say of one build, for its budgets, by the words of their statements."""
    found: dict[str, dict[Name, Reading]] = {}
    for evaluation in (each for each in evaluated if not each.condition):
        if build not in {each.build for each in evaluation.builds}:
            continue
        scores, floats = evaluation.of(build), evaluation.of(FLOAT).scores
        count = "1 sample" if evaluation.samples == 1 else f"{evaluation.samples} samples"
        source = f"{scores.instead or 'measured'}, {count} of {evaluation.data}"
        for key, value in scores.scores.items():
            drop = scores.drops.get(key)
            reference = floats.get(key) if scores.drops else None
            low, high = (drop.low, drop.high) if drop is not None else (None, None)
            name = key.metric, (key.of,) if key.of else ()
            found.setdefault(evaluation.statement, {})[name] = Reading(value, reference, low, high, source)
    return found
