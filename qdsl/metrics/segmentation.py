"""How good a segmentation is: overlap, precision and recall of each class, over the pixels of all pictures together.

Picture by picture, pixels are counted by true and predicted class; only those counts are kept. From them come the
metrics, of all pictures or of any selection of them, with repetition too (a bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdsl.metrics.boxes import Ints
from qdsl.metrics.classification import class_rates, shares


@dataclass(frozen=True, slots=True)
class ClassOverlap:
    """One class: intersection over union, precision and recall, between 0 and 1, and how many pixels are of it.

    `dice` is twice the intersection over the sum of both areas, which is also the harmonic mean of precision and
    recall. All are NaN for a class that occurs neither in truth nor in prediction, and 0 for one that occurs in one
    of them only.
    """

    iou: float
    dice: float
    precision: float
    recall: float
    pixels: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: another name of `dice`."""
        return self.dice


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationMetrics:
    """Means over the classes that occur in truth or prediction, between 0 and 1, and NaN where there are none.

    `accuracy` is the share of pixels that are right; `confusion` [classes, classes] counts pixels, rows the truth,
    columns the prediction. Pixels of all pictures count alike (Long et al. 2015, arXiv:1411.4038, section 5).
    """

    miou: float
    dice: float
    precision: float
    recall: float
    accuracy: float
    per_class: tuple[ClassOverlap, ...]
    confusion: Ints
    pictures: int

    @property
    def f1(self) -> float:
        """The mean of the classes' F1: another name of `dice`."""
        return self.dice


def pixel_confusion(predicted: ArrayLike, truth: ArrayLike, classes: int, ignore: int | None = None) -> Ints:
    """Pixels of one picture by class, [classes, classes], rows the truth, from class maps [h, w] of integers.

    Pixels whose truth is `ignore` do not count, whatever is predicted there. Raises ValueError for shapes that do not
    fit, maps of another type, and values that are no class among the pixels that count.
    """
    if classes < 1:
        raise ValueError(f"{classes} classes, expected at least 1")
    said, there = _map(predicted, "predicted"), _map(truth, "truth")
    if said.shape != there.shape:
        raise ValueError(f"predicted has shape {list(said.shape)}, truth {list(there.shape)}: expected the same")
    counts = np.ones(there.shape, np.bool_) if ignore is None else there != ignore
    said, there = _classes(said[counts], classes, "predicted"), _classes(there[counts], classes, "truth")
    return np.bincount(there * classes + said, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def _map(given: ArrayLike, what: str) -> Ints:
    found: NDArray[np.generic] = np.asarray(given)
    if found.ndim != 2:
        raise ValueError(f"{what} has shape {list(found.shape)}, expected [h, w]")
    if found.dtype.kind not in "biu":
        raise ValueError(f"{what} is of type {found.dtype}, expected integers")
    return found.astype(np.int64)


def _classes(pixels: Ints, classes: int, what: str) -> Ints:
    if pixels.size and not 0 <= pixels.min() <= pixels.max() < classes:
        raise ValueError(f"{what} goes from {pixels.min()} to {pixels.max()}, expected 0 to {classes - 1}")
    return pixels


def segmentation_metrics(confusions: Sequence[Ints] | Ints) -> SegmentationMetrics:
    """The metrics of all pictures in `confusions`, [n, classes, classes] from `pixel_confusion`, in any order.

    Raises ValueError for other shapes, which includes pictures with different numbers of classes.
    """
    confusion = _total(confusions)
    there, said, right = confusion.sum(1), confusion.sum(0), np.diagonal(confusion)
    precision, recall, dice = class_rates(confusion)
    table = np.stack([shares(right, there + said - right), dice, precision, recall])
    occurs = there + said > 0
    means = [float(row[occurs].mean()) if occurs.any() else np.nan for row in table]
    table[:, ~occurs] = np.nan
    pixels = int(confusion.sum())
    return SegmentationMetrics(
        miou=means[0],
        dice=means[1],
        precision=means[2],
        recall=means[3],
        accuracy=int(right.sum()) / pixels if pixels else np.nan,
        per_class=tuple(ClassOverlap(*one) for one in zip(*table.tolist(), there.tolist(), strict=True)),
        confusion=confusion,
        pictures=len(confusions),
    )


def _total(confusions: Sequence[Ints] | Ints) -> Ints:
    shapes = sorted({np.shape(each) for each in confusions})
    if any(len(shape) != 2 or shape[0] != shape[1] for shape in shapes) or len(shapes) > 1:
        told = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"confusions have shapes {told}, expected one [classes, classes]")
    total = np.zeros(shapes[0] if shapes else (0, 0), np.int64)
    for each in confusions:
        total += each
    return total
