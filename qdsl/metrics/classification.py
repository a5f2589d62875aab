"""How good a classifier is: top-1 and top-5, precision, recall and F1, and which class is taken for which.

Batch by batch, scores become guesses; only those are kept, a few numbers for each sample. From them come the metrics,
of all samples or of any selection of them, with repetition too (a bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdsl.metrics.boxes import Floats, Ints

_TOP = 5


@dataclass(frozen=True, slots=True, eq=False)
class Guesses:
    """What a model said of samples, beside the truth: true class [n], best class [n], rank of the true class [n] (0:
    none is before it), and the score of the best class [n] as the model gave it, for a model with `classes` classes.

    Raises ValueError for other shapes, classes and ranks that there are not, and scores that are not finite.
    """

    labels: Ints
    best: Ints
    ranks: Ints
    confidence: Floats
    classes: int

    def __post_init__(self) -> None:
        labels = class_indices(self.labels, self.classes, "labels")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "best", class_indices(self.best, self.classes, "best classes", len(labels)))
        object.__setattr__(self, "ranks", class_indices(self.ranks, self.classes, "ranks", len(labels)))
        confidence = np.asarray(self.confidence, np.float64)
        if confidence.shape != labels.shape:
            raise ValueError(f"confidence has shape {list(confidence.shape)}, expected [{len(labels)}]")
        if not np.isfinite(confidence).all():
            raise ValueError("confidence holds NaN or infinity")
        object.__setattr__(self, "confidence", confidence)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: ArrayLike) -> Guesses:
        """The samples at `indices` [m], in that order, with repetition if an index repeats."""
        at = np.asarray(indices, np.int64)
        return Guesses(self.labels[at], self.best[at], self.ranks[at], self.confidence[at], self.classes)


def two_classes(scores: ArrayLike, *, logits: bool) -> Floats:
    """Scores [n, 1] of the second of two classes as those of both [n, 2]: probabilities, or `logits` of them. The
    second is the best above a probability of 0.5."""
    given = np.asarray(scores, np.float64).reshape(-1, 1)
    second = 0.5 * (1.0 + np.tanh(0.5 * given)) if logits else given
    return np.hstack((1.0 - second, second))


@dataclass(frozen=True, slots=True)
class Rates:
    """Precision, recall and F1, each between 0 and 1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class ClassRates:
    """One class, and how many samples are of it. What would divide by zero is 0: the precision of a class that is
    never guessed, the recall of one without samples, and the F1 of one without either."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationMetrics:
    """Shares of the samples, between 0 and 1, and NaN without samples.

    `top1` and `top5`: the true class is the best one, or among the five best (with fewer classes it always is).
    `micro` counts samples, so that all three equal `top1`. `macro` is the mean over the classes that occur, in truth or
    among the best guesses; a class that occurs in neither is left out, one that occurs in one of them counts with its
    zeros. `per_class` has every class; `confusion` [classes, classes] counts samples, rows the truth, columns the best
    guess. All as scikit-learn has it with `zero_division=0`.
    """

    top1: float
    top5: float
    micro: Rates
    macro: Rates
    per_class: tuple[ClassRates, ...]
    confusion: Ints
    samples: int

    @property
    def accuracy(self) -> float:
        """The share that is right: another name of `top1`."""
        return self.top1


def guesses(scores: ArrayLike, labels: ArrayLike) -> Guesses:
    """The guesses of a batch: scores [n, classes], of any unit, higher is better, and true classes [n].

    Of equal scores the lower class comes first, for the best guess and for ranks. A model with a single class is always
    right. Raises ValueError for other shapes, scores that are not finite, and labels that are no class.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"scores have shape {list(table.shape)}, expected [n, classes]")
    if not np.isfinite(table).all():
        raise ValueError("scores hold NaN or infinity")
    count, classes = table.shape
    truth = class_indices(labels, classes, "labels", count)
    best, rows = table.argmax(1), np.arange(count)
    own = table[rows, truth][:, None]
    before = (table > own) | ((table == own) & (np.arange(classes) < truth[:, None]))
    return Guesses(truth, best, before.sum(1), table[rows, best], classes)


def class_indices(given: ArrayLike, classes: int, what: str, count: int | None = None) -> Ints:
    """`given` as class indices [n]: ValueError unless it is a row of `count` integers from 0 to `classes` - 1."""
    row: NDArray[np.generic] = np.asarray(given)
    if row.ndim != 1 or (count is not None and row.size != count):
        raise ValueError(f"{what} have shape {list(row.shape)}, expected [{'n' if count is None else count}]")
    if row.size and row.dtype.kind not in "iu":
        raise ValueError(f"{what} are of type {row.dtype}, expected integers")
    if row.size and not 0 <= int(row.min()) <= int(row.max()) < classes:
        raise ValueError(f"{what} go from {row.min()} to {row.max()}, expected 0 to {classes - 1}")
    return row.astype(np.int64)


def classification_metrics(batches: Sequence[Guesses]) -> ClassificationMetrics:
    """The metrics of all samples in `batches`, in any order. Raises ValueError where their classes differ in number."""
    counts = sorted({batch.classes for batch in batches})
    if len(counts) > 1:
        raise ValueError(f"guesses among {counts[0]} classes and among {counts[-1]} are not of one model")
    classes = counts[0] if counts else 0
    confusion = np.zeros((classes, classes), np.int64)
    first = five = samples = 0
    for batch in batches:
        pairs = np.bincount(batch.labels * classes + batch.best, minlength=classes * classes)
        confusion += pairs.reshape(classes, classes)
        first += int((batch.ranks == 0).sum())
        five += int((batch.ranks < _TOP).sum())
        samples += len(batch)
    precision, recall, f1 = class_rates(confusion)
    support, guessed = confusion.sum(1), confusion.sum(0)
    top1 = first / samples if samples else np.nan
    means = [float(each[support + guessed > 0].mean()) if samples else np.nan for each in (precision, recall, f1)]
    per_class = zip(precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
    return ClassificationMetrics(
        top1=top1,
        top5=five / samples if samples else np.nan,
        micro=Rates(top1, top1, top1),
        macro=Rates(*means),
        per_class=tuple(ClassRates(*one) for one in per_class),
        confusion=confusion,
        samples=samples,
    )


def class_rates(confusion: Ints) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 [classes] of a confusion matrix [classes, classes], rows the truth; 0 where a quotient
    would divide by zero."""
    right, there, said = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)
    return shares(right, said), shares(right, there), shares(2 * right, there + said)


def shares(part: Ints, whole: Ints) -> Floats:
    """part / whole, 0 where `whole` is."""
    return np.asarray(np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0))
