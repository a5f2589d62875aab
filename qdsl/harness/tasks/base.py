"""What every task is given and gives: per sample a small answer, from the answers figures, and from two rows of answers
how sure a difference is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qdsl.data import Dataset, Label, Sample
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Span, nearest
from qdsl.harness.results import Key, Views
from qdsl.lang.recipe import DataSpec, Evaluate, InputSpec, Metric
from qdsl.spec.words import count

MOST_LABELS = 20  # broken labels that are told at once
Outputs = Mapping[str, NDArray[Any]]
Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """What the graph says of an output: its shape as far as it is known, its type, and the operator that makes at least
    a part of it probabilities, "" for none."""

    shape: tuple[int | str | None, ...] | None = None
    dtype: str = ""
    squashed: str = ""

    @property
    def plain(self) -> tuple[int, ...] | None:
        """The shape for one sample; None where a dim beside the first is open."""
        if not self.shape:
            return None
        first = self.shape[0] if isinstance(self.shape[0], int) else 1
        rest = [dim for dim in self.shape[1:] if isinstance(dim, int)]
        return (first, *rest) if len(rest) == len(self.shape) - 1 else None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a task stands on: its statement, the dataset and its statement, the `input` block of the picture (None where
    the model takes several, or none is written), the names of the model's outputs, the metrics that the recipe
    measures or bounds, how the pictures were changed ("" for as they are), what the graph says of its outputs and of
    height and width of its only input (None where that is open), what `decode python` names, where it may run, what the
    model's file calls its classes, and the outputs that cannot be compared row by row, each with why."""

    spec: Evaluate
    data: DataSpec
    dataset: Dataset
    input: InputSpec | None
    outputs: tuple[str, ...]
    metrics: tuple[Metric, ...] = ()
    condition: str = ""
    known: Mapping[str, OutputInfo] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    python: Callable[..., Any] | None = None
    names: tuple[str, ...] = ()
    unordered: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int | None:
        """How many classes the model must know; None where the data does not say, or maps its own onto them."""
        return None if self.dataset.numbers else len(self.dataset.classes) or None

    @property
    def classes(self) -> int | None:
        """How many classes there are: those of the data, else as many as a classifier has scores; None where that is
        open."""
        if self.dataset.classes or self.spec.task != "classification":
            return len(self.dataset.classes) or None
        shape = self.known.get((self.spec.output or self.outputs)[0], OutputInfo()).plain
        return None if shape is None else max(2, prod(shape))

    def fits(self, count: int) -> bool:
        """Whether a model of `count` classes knows those of the data."""
        if self.dataset.numbers:
            return count > max(self.dataset.numbers)
        return count == len(self.dataset.classes) or not self.dataset.classes

    def mapped(self, what: str) -> str:
        """What is read where the data maps its classes onto the model's, in words; "" where it does not."""
        pairs = list(zip(self.dataset.classes, self.dataset.numbers, strict=False))
        more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
        return f"{what} {', '.join(f'{number} (`{name}`)' for name, number in pairs[:5])}{more}" if pairs else ""


@dataclass(frozen=True, slots=True)
class Case:
    """One sample, and the float model's outputs for it: what a build's are held against where there are no labels."""

    sample: Sample
    reference: Outputs


@dataclass(frozen=True, slots=True)
class Verdict:
    """The figures of one row of answers, and what a report shows beside them."""

    scores: dict[Key, float]
    confidences: tuple[float, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = field(default=())


class Task(Protocol):
    """A task carried out: `answer` each sample, then `verdict` of all answers."""

    @property
    def told(self) -> str:
        """How the output is read, where nothing in the recipe says so; "" where there is nothing to tell."""

    def answer(self, outputs: Outputs, case: Case) -> Any:
        """What a model's outputs say of one sample, small enough to keep for every sample."""

    def verdict(self, answers: Sequence[Any]) -> Verdict:
        """The figures of all answers."""

    def statistic(self, answers: Sequence[Any], keys: Sequence[Key]) -> Statistic | None:
        """`keys` as a function of the samples drawn (indices, with repetition) -> [keys]; None where a difference
        between two models means nothing."""

    def distance(self, one: Any, other: Any) -> float:
        """How much two models' answers to one sample differ: 0 for the same."""

    def words(self, answer: Any) -> str:
        """An answer in a few words."""

    def truth(self, answer: Any) -> str:
        """What would have been right, in a few words; "" where nothing says so."""

    def views(self, index: int, one: Any, other: Any) -> Views | None:
        """What can be drawn of two models' answers to sample `index`; None where they are no places in a picture."""


def wrong(code: str, headline: str, span: Span, *help: str, label: str = "") -> QdslError:
    """One diagnostic as an exception, for `raise wrong(...)`."""
    return QdslError([Diagnostic(code, headline, span, label, help)])


def only_output(expected: Expected, outputs: Outputs) -> NDArray[Any]:
    """The one output that the task reads: the one that `output` names, or the model's only one."""
    named = expected.spec.output
    return outputs[named[0] if named else expected.outputs[0]]


def require_outputs(expected: Expected, most: int = 1) -> None:
    """Raises QdslError evaluate-output for names the model has not, and where several outputs leave a choice."""
    spec, known = expected.spec, expected.outputs
    shown = ", ".join(f"`{name[:60]}`" for name in known[:5])
    for name in spec.output:
        if name not in known:
            raise wrong("evaluate-output", f"the model has no output `{name[:80]}`", spec.span, f"it has {shown}")
    if len(spec.output) > most:
        takes = "one output" if most == 1 else f"at most {most} outputs"
        raise wrong("evaluate-output", f"`evaluate {spec.task}` reads {takes}", spec.span, f"the model has {shown}")
    if not spec.output and len(known) > most:
        headline = f"the model has {len(known)} outputs, and nothing says which `evaluate {spec.task}` reads"
        raise wrong("evaluate-output", headline, spec.span, f'write `output "{known[0][:60]}"`', f"it has {shown}")


def require_labels(expected: Expected, places: Sequence[int] | None = None) -> None:
    """Read the labels of every sample, or of those at `places`; raises QdslError with what is wrong with any of them:
    the first few labels that cannot be read, each at its place, and once with their count those that do not serve."""
    broken: list[Diagnostic] = []
    others: list[Diagnostic] = []
    dataset, count, boxes = expected.dataset, expected.classes, 0
    looked = range(len(dataset)) if places is None else places
    for index in looked:
        try:
            labels = dataset.labels(index)
        except QdslError as error:
            broken += error.diagnostics
            if len(broken) >= MOST_LABELS:
                break
            continue
        boxes += sum(label.box is not None for label in labels)
        try:
            _require_fitting(expected, index, labels, count)
        except QdslError as error:
            others += error.diagnostics
    if expected.spec.task == "detection" and not (boxes or broken or others) and len(looked) == len(dataset):
        raise no_boxes(expected)
    told = [*broken, *counted(others, f"of {len(looked)} samples")]
    if told:
        raise QdslError(told)


def _require_fitting(expected: Expected, index: int, labels: Sequence[Label], count: int | None) -> None:
    """Raises QdslError evaluate-labels for labels that the task has no use for."""
    if expected.spec.task == "classification":
        only_label(expected, index, labels)
    if count is not None and any(label.index >= count for label in labels):
        name = f"sample {expected.dataset.ids[index]} of {expected.dataset.name}"
        headline = f"{name} is of a class past the last: there are {count}"
        raise wrong("evaluate-labels", headline, expected.spec.span, f"classes are numbered 0 to {count - 1}")


def counted(found: Iterable[Diagnostic], of: str) -> list[Diagnostic]:
    """Of errors of one kind and cure the first, with how many there are `of` so many."""
    alike: dict[tuple[str, tuple[str, ...]], list[Diagnostic]] = {}
    for each in found:
        alike.setdefault((each.code, each.help), []).append(each)
    firsts = [(same[0], len(same)) for same in list(alike.values())[:MOST_LABELS]]
    return [
        replace(first, notes=(*first.notes, f"{count} {of} are so")) if count > 1 else first for first, count in firsts
    ]


def only_label(expected: Expected, index: int, labels: Sequence[Label]) -> int:
    """The class of a whole sample. Raises QdslError evaluate-labels where it has none, or several."""
    whole = [label.index for label in labels if label.box is None]
    if len(whole) != 1:
        headline = f"sample {expected.dataset.ids[index]} of {expected.data.name} has no class of its own"
        cure = "`folder` gives each sample the class of its folder, `csv` and `npz` with `label` that of a table"
        raise wrong("evaluate-labels", headline, expected.spec.span, cure, "without labels, use `evaluate fidelity`")
    return whole[0]


def no_boxes(expected: Expected) -> QdslError:
    """What to raise where no picture has a labelled box."""
    headline = f"dataset {expected.data.name} has no labelled boxes at all"
    cures = ["boxes of `images/a/1.jpg` are in `labels/a/1.txt`"] if expected.data.source == "yolo" else []
    return wrong("evaluate-labels", headline, expected.spec.span, *cures, "without, use `evaluate fidelity`")


def require_classes(expected: Expected, found: int, what: str) -> None:
    """Raises QdslError evaluate-classes where the model knows another number of classes than the data, or lacks those
    that the data maps its own onto."""
    if expected.fits(found):
        return
    dataset, data = expected.dataset, expected.data
    held = f"{what} has {count(found, 'class', 'classes')}"
    if dataset.numbers:
        headline = f"{held}, and `classes` of dataset {data.name} names {max(dataset.numbers)}"
        raise wrong("evaluate-classes", headline, data.at("classes"), f"the last of the model's classes is {found - 1}")
    headline = f"{held}, dataset {data.name} {len(dataset.classes)}"
    cure = "give the data the model's classes, in its order: `classes [..]`"
    if len(dataset.classes) < found:
        cure = f"say which of the model's classes the data's are, counted from 0: in `data {data.name}` write "
        cure += f"`{_mapping(dataset.classes, expected.names)}`"
    raise wrong("evaluate-classes", headline, expected.spec.span, cure)


def _mapping(classes: Sequence[str], known: Sequence[str]) -> str:
    """The line of a recipe that maps classes onto those that the model's file names, as far as it does."""
    if classes and set(classes) <= set(known):
        names, numbers = (f'"{name}"' for name in classes), (str(known.index(name)) for name in classes)
        return f"classes [{', '.join(names)}] as [{', '.join(numbers)}]"
    return f'classes ["{classes[0] if classes else "NAME"}", ..] as [NUMBER, ..]'


def require_named(expected: Expected) -> None:
    """Raises QdslError evaluate-class for metrics of a class or an output that is not there."""
    fidelity = expected.spec.task == "fidelity"
    known = expected.outputs if fidelity else expected.dataset.classes
    what, owner = ("output", "the model") if fidelity else ("class", f"dataset {expected.data.name}")
    found = Diagnostics()
    for metric in expected.metrics:
        for name in metric.qualifiers:
            if known and name not in known:
                close = nearest(name, known) or tuple(known[:4])
                cure = f"did you mean {' or '.join(f'`{each[:60]}`' for each in close)}?"
                found.error("evaluate-class", f"{owner} has no {what} `{name[:80]}`", metric.span, help=[cure])
    found.raise_errors()


def unreadable(expected: Expected, reason: object) -> QdslError:
    """The outputs are not what the task reads."""
    headline = f"`evaluate {expected.spec.task}` cannot read the model's output: {' '.join(str(reason).split())[:200]}"
    return wrong("evaluate-shape", headline, expected.spec.span, "name the output that the task reads: `output ..`")
