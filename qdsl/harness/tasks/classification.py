"""`evaluate classification`: one class per sample, the highest score wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qdsl.harness.results import Key
from qdsl.harness.tasks.base import (
    Case,
    Expected,
    OutputInfo,
    Outputs,
    Statistic,
    Verdict,
    only_label,
    only_output,
    require_classes,
    require_outputs,
    unreadable,
    wrong,
)
from qdsl.metrics import ClassificationMetrics, Guesses, classification_metrics, guesses, two_classes


@dataclass(frozen=True, slots=True)
class Guess:
    """One sample: its guess, the probability of the best class, and that of every class [classes] for comparing."""

    guess: Guesses
    probabilities: NDArray[np.float32]


class Classification:
    """Scores of any unit in one output [1, classes]; labels of whole samples. One score alone is that of the second of
    two classes."""

    def __init__(self, expected: Expected) -> None:
        require_outputs(expected)
        self._expected = expected
        self._classes = expected.dataset.classes
        self.told = expected.mapped("the best of the model's classes")
        info = expected.known.get((expected.spec.output or expected.outputs)[0], OutputInfo())
        self._logits = not info.squashed
        if info.plain is not None:
            self._require(info.plain)
            self.told = self._reading(info) if prod(info.plain) == 1 else self.told

    def answer(self, outputs: Outputs, case: Case) -> Guess:
        scores = np.asarray(only_output(self._expected, outputs), np.float64)
        self._require(scores.shape)
        row = scores.reshape(1, -1)
        try:
            if row.size == 1:
                row = two_classes(row, logits=self._logits)
            if self._expected.dataset.numbers:
                row = row[:, list(self._expected.dataset.numbers)]
            if not self._classes:
                self._classes = tuple(str(index) for index in range(row.shape[1]))
            return Guess(guesses(row, [self._label(case.sample.index)]), _probabilities(row[0]))
        except ValueError as error:
            raise unreadable(self._expected, error) from None

    @property
    def logits(self) -> bool:
        """Whether a single score still needs a sigmoid: by how the graph ends."""
        return self._logits

    def _require(self, shape: tuple[int, ...]) -> None:
        """Raises QdslError: evaluate-shape for what is no row of scores, evaluate-classes for another number."""
        count = prod(shape)
        if len(shape) < 2 or shape[0] != 1 or count != max(shape):
            raise unreadable(self._expected, f"it has shape {list(shape)}, expected [1, classes]")
        if count == 1 and len(self._classes) not in (0, 2):
            name, spec = self._expected.data.name, self._expected.spec
            headline = f"the model gives one score, which tells two classes apart: {name} has {len(self._classes)}"
            raise wrong("evaluate-classes", headline, spec.span, "choose two in the data: `classes [..]`")
        if count > 1 and self._classes:
            require_classes(self._expected, count, "the model")

    def _reading(self, info: OutputInfo) -> str:
        """How a single score is read, in words."""
        second = f"class `{self._classes[1]}`" if len(self._classes) == 2 else "the second class"
        if info.squashed:
            return f"one probability (the graph ends in {info.squashed}): above 0.5 is {second}"
        return f"one logit (no Sigmoid ends the graph): above 0 is {second}"

    def _label(self, index: int) -> int:
        found = only_label(self._expected, index, self._expected.dataset.labels(index))
        if found >= (len(self._classes) or found + 1):
            sample = f"sample {self._expected.dataset.ids[index]} of {self._expected.data.name}"
            headline = f"{sample} is of class {found}, and there are {len(self._classes)}"
            raise wrong("evaluate-labels", headline, self._expected.spec.span, "classes are numbered from 0")
        return found

    def verdict(self, answers: Sequence[Guess]) -> Verdict:
        found = classification_metrics([answer.guess for answer in answers])
        scores = dict(zip(self._keys(), _values(found), strict=True))
        confidences = sorted(float(answer.probabilities.max()) for answer in answers)
        confusion = tuple(tuple(row) for row in found.confusion.tolist())
        return Verdict(scores, tuple(confidences), confusion)

    def _keys(self) -> list[Key]:
        whole = [Key(name) for name in ("top1", "top5", "accuracy", "precision", "recall", "f1")]
        return whole + [Key(name, of) for of in self._classes for name in ("precision", "recall", "f1")]

    def statistic(self, answers: Sequence[Guess], keys: Sequence[Key]) -> Statistic:
        held = _joined([answer.guess for answer in answers])
        places = {key: place for place, key in enumerate(self._keys())}
        wanted = [places[key] for key in keys]

        def measure(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.array(_values(classification_metrics([held.take(drawn)])))[wanted]

        return measure

    def distance(self, one: Guess, other: Guess) -> float:
        """Half the sum of absolute differences of the probabilities (total variation), and 1 more where the best class
        differs."""
        apart = 0.5 * float(np.abs(one.probabilities - other.probabilities).sum())
        return apart + float(one.guess.best[0] != other.guess.best[0])

    def words(self, answer: Guess) -> str:
        best = int(answer.guess.best[0])
        return f"{self._classes[best]} {answer.probabilities[best]:.2f}"

    def truth(self, answer: Guess) -> str:
        return self._classes[int(answer.guess.labels[0])]

    def views(self, index: int, one: Guess, other: Guess) -> None:
        return None


def _values(found: ClassificationMetrics) -> list[float]:
    """In the order of `_keys`; precision, recall and F1 of all classes are the macro means."""
    whole = [found.top1, found.top5, found.accuracy, found.macro.precision, found.macro.recall, found.macro.f1]
    return whole + [value for each in found.per_class for value in (each.precision, each.recall, each.f1)]


def _joined(parts: Sequence[Guesses]) -> Guesses:
    return Guesses(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.best for part in parts]),
        np.concatenate([part.ranks for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        parts[0].classes,
    )


def _probabilities(row: NDArray[np.float64]) -> NDArray[np.float32]:
    """The scores as they are where they are probabilities, else their softmax."""
    if row.min() >= 0 and abs(float(row.sum()) - 1) < 1e-2:
        return row.astype(np.float32)
    raised = np.exp(row - row.max())
    return np.asarray(raised / raised.sum(), np.float32)
