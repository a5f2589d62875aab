"""How sure a difference between two models is: intervals from resampling the samples that both were measured on.

Each resample draws as many samples as there are, with replacement, and measures both models on the same draw: what
makes a sample hard for both cancels out. The interval is the percentile interval (Efron & Tibshirani 1993, An
Introduction to the Bootstrap, chapter 13), its ends the k-th lowest and k-th highest difference, with k the whole part
of (resamples + 1) (1 - level) / 2 (chapter 12). Draws come from numpy's PCG64, so one seed gives one interval.

A difference is the first value minus the second. With the float model first it is the drop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdsl.metrics.boxes import Floats, Ints
from qdsl.metrics.detection import IOU_THRESHOLDS, Matches

_RECALLS = np.linspace(0.0, 1.0, 101)
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference on all samples, and its interval from `low` to `high`, in the metric's unit.

    `resamples` counts those that have a difference: one where a metric is NaN is left out. Too few to have tails of
    (1 - `level`) / 2 make both ends NaN.
    """

    difference: float
    low: float
    high: float
    level: float
    resamples: int


def paired_interval(
    statistic: Callable[[Ints], tuple[float, float]],
    n: int,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The interval of `statistic`, which gives both models' metric on the samples at indices [n], one as often as its
    index occurs.

    Raises ValueError for no samples, a level outside 0 to 1, and fewer resamples than the level needs (39 at 0.95).
    """
    return paired_intervals(statistic, n, resamples, seed, level)[0]


def paired_intervals(
    statistic: Callable[[Ints], tuple[ArrayLike, ArrayLike]],
    n: int,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Interval, ...]:
    """As `paired_interval`, for several metrics measured on the same draws: `statistic` gives both models' as [k]."""
    _check(n, resamples, level)
    whole = _difference(statistic(np.arange(n)))
    drawn = np.empty((resamples, whole.size))
    for at, indices in enumerate(_draws(n, resamples, seed)):
        drawn[at] = _difference(statistic(indices))
    return tuple(_interval(float(whole[i]), drawn[:, i], level) for i in range(whole.size))


def paired_mean_interval(
    values: ArrayLike, others: ArrayLike, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """As `paired_interval`, with the same draws but faster, for a metric that is the mean of one value per sample: both
    models' values [n]. Raises ValueError for other shapes and values that are not finite, too."""
    ones, twos = np.asarray(values, np.float64), np.asarray(others, np.float64)
    if ones.ndim != 1 or ones.shape != twos.shape:
        raise ValueError(f"values have shapes {list(ones.shape)} and {list(twos.shape)}, expected [n] for both")
    if not (np.isfinite(ones).all() and np.isfinite(twos).all()):
        raise ValueError("values hold NaN or infinity")
    _check(ones.size, resamples, level)
    differences = ones - twos
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = max(1, _PIECE // ones.size)
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    drawn = [differences[rng.integers(0, ones.size, (size, ones.size))].mean(1) for size in sizes]
    return _interval(float(differences.mean()), np.concatenate(drawn), level)


def _check(n: int, resamples: int, level: float) -> None:
    if n < 1:
        raise ValueError("no samples to draw from")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}, expected more than 0 and less than 1")
    if _tail(resamples, level) < 1:
        needed = math.ceil(2 / (1 - level) - 1e-9) - 1
        raise ValueError(f"{resamples} resamples are too few for level {level}: expected at least {needed}")


def _draws(n: int, resamples: int, seed: int) -> Iterator[Ints]:
    rng = np.random.Generator(np.random.PCG64(seed))
    for _ in range(resamples):
        yield rng.integers(0, n, n)


def _difference(pair: tuple[ArrayLike, ArrayLike]) -> Floats:
    one, other = (np.atleast_1d(np.asarray(each, np.float64)) for each in pair)
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"metrics have shapes {list(one.shape)} and {list(other.shape)}, expected [k] for both")
    with np.errstate(invalid="ignore"):  # infinity minus infinity is no difference
        return np.asarray(one - other)


def _tail(resamples: int, level: float) -> int:
    """How many differences lie at or outside each end of the interval."""
    return math.floor((resamples + 1) * (1 - level) / 2 + 1e-9)


def _interval(difference: float, drawn: Floats, level: float) -> Interval:
    known = np.sort(drawn[~np.isnan(drawn)])
    tail = _tail(known.size, level)
    if tail < 1:
        return Interval(difference, math.nan, math.nan, level, known.size)
    return Interval(difference, float(known[tail - 1]), float(known[-tail]), level, known.size)


class ResampledPrecision:
    """Average precision of any selection of pictures, with repetition: what `detection_metrics` gives for the list of
    their matches, far faster, since scores are ordered once and a picture then counts as often as it is drawn.

    It equals `detection_metrics` to the last bit where no two detections of a class have the same score, and for all
    pictures drawn once. Equal scores count in the order of the pictures here, not of the draw, and the copies of a
    detection stand together. `labels` are the classes that have labelled boxes, rising.
    """

    labels: tuple[int, ...]

    def __init__(self, matches: Sequence[Matches]) -> None:
        self.labels = tuple(sorted({label for picture in matches for label in picture.present}))
        self._pictures = len(matches)
        present = [[picture.present.get(label, 0) for label in self.labels] for picture in matches]
        self._present = np.array(present, np.int64).reshape(len(matches), len(self.labels))
        rows = _Rows.of(matches, self.labels)
        self._row_pictures = rows.pictures
        places, self._segments = _segments(rows.right, rows.classes)
        passed, passed_segments = _segments(rows.ignored, rows.classes)
        self._right_pictures, self._passed_pictures = rows.pictures[places], rows.pictures[passed]
        self._right_starts = np.searchsorted(self._segments, self._segments)
        self._row_starts = np.searchsorted(rows.classes, rows.classes[places])
        self._row_ends = places + 1
        length = len(rows.classes) + 1
        keys = passed_segments * length + passed
        self._passed_starts = np.searchsorted(keys, self._segments * length)
        self._passed_ends = np.searchsorted(keys, self._segments * length + places)

    def per_class(self, indices: ArrayLike) -> Floats:
        """Average precision [classes, 10] of each of `labels` at each of `IOU_THRESHOLDS`, over the pictures at
        `indices` [m]; NaN for a class without labelled boxes among them. Raises ValueError for indices of no picture.
        """
        weights = self._weights(indices)
        present = weights @ self._present
        shown = _sums(weights[self._row_pictures])
        passed = _sums(weights[self._passed_pictures])
        right = _sums(weights[self._right_pictures])
        hits = right[1:] - right[self._right_starts]
        tried = shown[self._row_ends] - shown[self._row_starts]
        tried -= passed[self._passed_ends] - passed[self._passed_starts]
        precision = hits / (tried + np.spacing(1))
        recall = hits / np.maximum(present, 1)[self._segments // len(IOU_THRESHOLDS)]
        found = _areas(self._segments, precision, recall, len(self.labels) * len(IOU_THRESHOLDS))
        found = found.reshape(len(self.labels), len(IOU_THRESHOLDS))
        found[present == 0] = np.nan
        return found

    def means(self, indices: ArrayLike) -> Floats:
        """(map50, map50_95) over the pictures at `indices` [m]: NaN where none has a labelled box."""
        found = self.per_class(indices)
        known = found[~np.isnan(found[:, 0])]
        mean = known.mean(0) if len(known) else np.full(len(IOU_THRESHOLDS), np.nan)
        return np.array([mean[0], mean.mean()])

    def _weights(self, indices: ArrayLike) -> Ints:
        at = np.asarray(indices, np.int64)
        if at.ndim != 1 or (at.size and not 0 <= at.min() <= at.max() < self._pictures):
            raise ValueError(f"indices do not fit: expected [m], each from 0 to {self._pictures - 1}")
        return np.bincount(at, minlength=self._pictures).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """All detections of the classes with labelled boxes, classes rising, scores falling: their pictures [n], classes
    [n] as places in the list of labels, and verdicts [n, 10]."""

    pictures: Ints
    classes: Ints
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]

    @staticmethod
    def of(matches: Sequence[Matches], labels: Sequence[int]) -> _Rows:
        none = np.zeros((0, len(IOU_THRESHOLDS)), np.bool_)
        scores = np.concatenate([np.zeros(0), *(picture.scores for picture in matches)])
        classes = np.concatenate([np.zeros(0, np.int64), *(picture.classes for picture in matches)])
        pictures = np.repeat(np.arange(len(matches)), [len(picture.scores) for picture in matches])
        right = np.concatenate([none, *(picture.right for picture in matches)])
        ignored = np.concatenate([none, *(picture.ignored for picture in matches)])
        order = np.lexsort((-scores, classes))
        order = order[np.isin(classes[order], np.array(labels, np.int64))]
        places = np.searchsorted(np.array(labels, np.int64), classes[order])
        return _Rows(pictures[order], places.astype(np.int64), right[order], ignored[order])


def _segments(verdicts: NDArray[np.bool_], classes: Ints) -> tuple[Ints, Ints]:
    """Where verdicts [n, 10] hold: the rows, segment by segment, and the segment of each, class x 10 + threshold."""
    rows, thresholds = np.nonzero(verdicts)
    segments = classes[rows] * len(IOU_THRESHOLDS) + thresholds
    order = np.lexsort((rows, segments))
    return rows[order].astype(np.int64), segments[order].astype(np.int64)


def _sums(weights: Ints) -> Ints:
    """The sums of the first 0, 1, .. of `weights`."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(weights)))


def _areas(segments: Ints, precision: Floats, recall: Floats, count: int) -> Floats:
    """Per segment: the mean, over 101 recalls, of the largest precision at that recall or a higher one. Only right
    detections are looked at: a wrong one has the recall of the right one before it, and no higher precision."""
    best = np.zeros(count * _RECALLS.size)
    slots = segments * _RECALLS.size + np.searchsorted(_RECALLS, recall, side="right") - 1
    if slots.size:
        starts = np.flatnonzero(np.diff(slots, prepend=-1))
        best[slots[starts]] = np.maximum.reduceat(precision, starts)
    falling = best.reshape(count, _RECALLS.size)[:, ::-1]
    envelope = np.ascontiguousarray(np.maximum.accumulate(falling, axis=1)[:, ::-1])
    return np.asarray(envelope.mean(1))
