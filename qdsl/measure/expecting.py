"""What an `evaluate` statement stands on, and what can be said of it before anything runs; no runtime is loaded."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from qdsl import data
from qdsl.data import Dataset
from qdsl.data.corrupt import Corruption, corrupted
from qdsl.data.opening import NOTHING_THERE
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.graph.chosen_rows import chosen_rows
from qdsl.graph.endings import squashed_by
from qdsl.harness.tasks import Expected, task_for
from qdsl.harness.tasks.base import OutputInfo, require_labels
from qdsl.harness.tasks.fidelity import left_out
from qdsl.lang.recipe import DataSpec, Evaluate, InputSpec, Metric, Recipe
from qdsl.lang.vocabulary import METRICS
from qdsl.measure.asking import all_wanted, require_batch
from qdsl.spec.plan import Plan
from qdsl.work.prepared import Prepared, takes

_ABSENT = ("data-missing", "data-empty", "video-absent")  # what another machine may have
_MOST_NAMES = 200_000  # characters

_TOP = 5  # guesses that `top5` counts
_MOST_TOLD = 4
_GLANCED = 1 << 25  # pixels of masks that are looked at


def foreseen(prepared: Prepared, plans: Sequence[Plan], diags: Diagnostics, more: Sequence[Evaluate] = ()) -> None:
    """Raises QdslError, evaluate-*, profile-batch, data-*, image-*, input-*, for what shapes and classes decide of the
    recipe's data, of every `evaluate` and `profile`, and of `more` that is measured, as far as they are known. No
    picture is decoded: headers, labels and masks are looked at, of large datasets some; data that is not there leaves
    its part open."""
    errors = Diagnostics()
    try:
        require_batch(prepared, all_wanted(prepared.recipe, [plan.target for plan in plans]).values())
    except QdslError as error:
        errors.extend(error.diagnostics)
    calibrating = {t.calibration.data for plan in plans for t in plan.tensors if t.observe}
    names = [name for name in calibrating if name is not None] + [
        spec.data for spec in (*prepared.recipe.evaluates, *more)
    ]
    datasets = {name: _listed(prepared, name, diags, errors) for name in sorted(set(names))}
    for spec in (*prepared.recipe.evaluates, *more):
        try:
            expected = expect(prepared, spec, datasets[spec.data], None)
            words = list(told(expected))
            diags.extend(words if spec in prepared.recipe.evaluates else ())
            _glance(expected)
        except QdslError as error:
            errors.extend(error.diagnostics)
    errors.raise_errors()


def _listed(prepared: Prepared, name: str, diags: Diagnostics, errors: Diagnostics) -> Dataset:
    """A dataset without its samples, which `diags` is told about; what is wrong with it goes to `errors`, unless it is
    not there."""
    statement = prepared.recipe.dataset(name)
    try:
        found = data.open(statement, prepared.recipe.inputs, takes(prepared), diags, read=False)
    except QdslError as error:
        errors.extend(each for each in error.diagnostics if not _is_absent(each))
        return _unseen(statement)
    try:
        data.look(found, statement, data.GLANCE)
    except QdslError as error:
        errors.extend(error.diagnostics)
    return found


def _is_absent(found: Diagnostic) -> bool:
    """Whether an error says that data is elsewhere, and not that what is there does not serve."""
    return found.code in _ABSENT and (found.code != "data-empty" or found.label == NOTHING_THERE)


def _glance(expected: Expected) -> None:
    """Raises QdslError for labels and masks of the samples that are there, of many samples for some of them."""
    if not len(expected.dataset):
        return
    require_pictures(expected)
    if expected.spec.task == "fidelity":
        return
    places = data.spread(len(expected.dataset), data.GLANCE)
    try:
        require_labels(expected, places)
    except QdslError as error:
        found = [each for each in error.diagnostics if not _is_absent(each)]
        if found:
            raise QdslError(found) from None
    if expected.spec.task == "segmentation":
        from qdsl.harness.tasks.segmentation import require_masks

        require_masks(expected, places, _GLANCED)


def told(expected: Expected) -> Iterator[Diagnostic]:
    """What the task has to say of how it reads the output, and what figures will say less than they seem to. Raises
    QdslError where it cannot read it."""
    told, spec = task_for(expected).told, expected.spec
    if told:
        yield Diagnostic("evaluate-reads", f"`evaluate {spec.task}` reads {told}", spec.span, severity=Severity.NOTE)
    if spec.task == "fidelity" and (out := left_out(expected)):
        yield _unordered(expected, out)
    classes = len(expected.dataset.classes)
    for metric in expected.metrics:
        if metric.name == "top5" and 0 < classes <= _TOP:
            headline = f"`top5` of {classes} classes is 100 % whatever the model says"
            yield Diagnostic("evaluate-top5", headline, metric.span, help=("write `top1`",), severity=Severity.WARNING)
            return


def _unordered(expected: Expected, out: Mapping[str, str]) -> Diagnostic:
    spec, kept = expected.spec, [name for name in expected.outputs if name not in out]
    first, more = next(iter(out)), f" and {len(out) - 1} more" if len(out) > 1 else ""
    headline = f"`evaluate fidelity` leaves `{first[:80]}`{more} out: not to be compared row by row"
    notes = tuple(f"`{name[:80]}`: {why}" for name, why in list(out.items())[:_MOST_TOLD])
    help = (f'say so: `output "{kept[0][:60]}"`',)
    return Diagnostic("evaluate-unordered", headline, spec.span, help=help, notes=notes, severity=Severity.NOTE)


def require_pictures(expected: Expected) -> None:
    """Raises QdslError evaluate-corrupt where pictures are to be changed, and the samples are none."""
    wanted = expected.spec.corrupt
    if wanted is None or corrupted(expected.dataset, Corruption("noise", 1)) is not None:
        return
    headline = f"`corrupt` changes pictures, and dataset {expected.data.name} holds other arrays"
    help = ("take `corrupt` out, or store uint8 arrays of shape [samples, height, width, 3]",)
    raise QdslError([Diagnostic("evaluate-corrupt", headline, wanted.span, help=help)])


def expect(prepared: Prepared, spec: Evaluate, dataset: Dataset, python: Callable[..., Any] | None) -> Expected:
    recipe, outputs = prepared.recipe, tuple(dict.fromkeys(prepared.view.outputs))
    return Expected(
        spec,
        recipe.dataset(spec.data),
        dataset,
        _picture(prepared),
        outputs,
        _metrics(recipe, spec),
        known={name: _said_of(prepared, name) for name in outputs},
        size=_size(prepared),
        python=python,
        names=_class_names(prepared),
        unordered=chosen_rows(prepared.view),
    )


def _unseen(statement: DataSpec) -> Dataset:
    """Data that is not there, of which nothing but the statement is known: no sample is asked of it."""
    reader: Any = None
    return Dataset(
        statement.name, statement.source, (), 0, statement.classes, (), reader, statement.numbers, statement.span
    )


def _said_of(prepared: Prepared, output: str) -> OutputInfo:
    tensor = prepared.view.tensors[output]
    return OutputInfo(tensor.shape, tensor.dtype or "", squashed_by(prepared.view, output))


def _class_names(prepared: Prepared) -> tuple[str, ...]:
    """What the model's file calls its classes, by their numbers, where its exporter wrote that down (Ultralytics does:
    `names`, a mapping)."""
    text = next((prop.value for prop in prepared.model.shell.metadata_props if prop.key == "names"), "")
    if not 0 < len(text) <= _MOST_NAMES:
        return ()
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    named = list(found.items()) if isinstance(found, dict) else []
    whole = all(isinstance(name, str) and number == at for at, (number, name) in enumerate(named))
    return tuple(name for _, name in named) if whole else ()


def _size(prepared: Prepared) -> tuple[int, int] | None:
    """Height and width of the model's only input, where that is a picture and the graph or its `input` block fixes
    them."""
    if len(prepared.view.inputs) != 1:
        return None
    shape = prepared.view.tensors[prepared.view.inputs[0]].shape or ()
    picture = _picture(prepared)
    steps = picture.steps if picture is not None else ()
    last = any(step.name == "layout" and step.args[0] == "nhwc" for step in steps)
    sides = shape[1:3] if last else shape[2:4]
    if len(shape) == 4 and all(isinstance(side, int) for side in sides):
        return int(str(sides[0])), int(str(sides[1]))
    cut = [step.args[:2] for step in steps if step.name in ("resize", "crop")]
    return (int(cut[-1][0]), int(cut[-1][1])) if cut else None


def _metrics(recipe: Recipe, spec: Evaluate) -> tuple[Metric, ...]:
    """What the recipe measures or bounds with this statement: metrics of its task, here and in target blocks."""
    bounded = [r.metric for r in (*spec.requires, *(r for target in recipe.targets for r in target.requires))]
    own = {row.name for row in METRICS if spec.task in row.tasks}
    return tuple(metric for metric in (*spec.measure, *bounded) if metric.name in own)


def _picture(prepared: Prepared) -> InputSpec | None:
    """The `input` block of the model's only input."""
    inputs = prepared.view.inputs
    blocks = [spec for spec in prepared.recipe.inputs if spec.name in (None, *inputs)]
    return blocks[0] if len(blocks) == 1 and len(inputs) == 1 else None
