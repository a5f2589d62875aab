"""Boxes: what a detector found, what is there, how much two boxes overlap, and which of many to keep.

A box is (x0, y0, x1, y1) with x to the right and y down; the unit is the caller's, the same for all boxes that meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Box = tuple[float, float, float, float]

_BLOCK = 256  # candidates at a time: enough for numpy, few enough to stop early


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a model found in one picture, in any order: boxes [n, 4], scores [n], class indices [n].

    Raises ValueError for other shapes, values that are not finite, boxes inside out, and negative classes.
    """

    boxes: Floats
    scores: Floats
    classes: Ints

    def __post_init__(self) -> None:
        boxes = _boxes(self.boxes)
        scores = _row(self.scores, len(boxes), np.float64, "scores")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "classes", _classes(self.classes, len(boxes)))

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The labelled boxes of one picture: boxes [n, 4], class indices [n], and whether each is a crowd [n].

    A crowd is one box around many things (COCO's `iscrowd`): finding it counts neither for nor against a model. Raises
    ValueError as `Detections` does.
    """

    boxes: Floats
    classes: Ints
    crowd: NDArray[np.bool_]

    def __post_init__(self) -> None:
        boxes = _boxes(self.boxes)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "classes", _classes(self.classes, len(boxes)))
        object.__setattr__(self, "crowd", _row(self.crowd, len(boxes), np.bool_, "crowd"))

    def __len__(self) -> int:
        return len(self.classes)


def _boxes(given: ArrayLike) -> Floats:
    boxes = np.asarray(given, np.float64)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes have shape {list(boxes.shape)}, expected [n, 4]")
    if not np.isfinite(boxes).all():
        raise ValueError("boxes hold NaN or infinity")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError("a box ends before it begins: expected (x0, y0, x1, y1)")
    return boxes


def _row(given: ArrayLike, count: int, dtype: type, what: str) -> NDArray[Any]:
    row: NDArray[Any] = np.asarray(given, dtype)
    if row.shape != (count,):
        raise ValueError(f"{what} have shape {list(row.shape)}, expected [{count}]: one for each box")
    if not np.isfinite(row).all():
        raise ValueError(f"{what} hold NaN or infinity")
    return row


def _classes(given: ArrayLike, count: int) -> Ints:
    classes = _row(given, count, np.int64, "classes")
    if classes.size and classes.min() < 0:
        raise ValueError("classes hold a negative index")
    return classes


def iou(boxes: ArrayLike, others: ArrayLike, crowd: ArrayLike | None = None) -> Floats:
    """Intersection over union of each of `boxes` [n, 4] with each of `others` [m, 4], as [n, m]; 0 where they do not
    overlap. Where `crowd` [m] is set it is the intersection over the first box's own area (COCO's rule)."""
    return _overlaps(_boxes(boxes), _boxes(others), None if crowd is None else np.asarray(crowd, np.bool_))


def _overlaps(boxes: Floats, others: Floats, crowd: NDArray[np.bool_] | None = None) -> Floats:
    one, two = _columns(boxes)[:, :, None], _columns(others)[:, None]
    shared = _shared(one, two)
    joined = one[4] + two[4] - shared
    if crowd is not None:
        joined = np.where(crowd[None], one[4], joined)
    return np.asarray(np.divide(shared, joined, out=np.zeros_like(shared), where=shared > 0))


def _columns(boxes: Floats) -> Floats:
    """The four sides of boxes [n, 4] and their areas, each in one row: [5, n]."""
    columns = np.empty((5, len(boxes)))
    columns[:4] = boxes.T
    columns[4] = (columns[2] - columns[0]) * (columns[3] - columns[1])
    return columns


def _shared(one: Floats, two: Floats) -> Floats:
    """The areas that boxes share, given as columns."""
    wide = np.minimum(one[2], two[2]) - np.maximum(one[0], two[0])
    high = np.minimum(one[3], two[3]) - np.maximum(one[1], two[1])
    return np.where((wide > 0) & (high > 0), wide * high, 0.0)


def to_picture(boxes: ArrayLike, region: Box, width: float, height: float) -> Floats:
    """Boxes [n, 4] in input pixels as boxes in the picture's, clipped to it.

    `region` is where the whole picture lies in the input: inside it after a letterbox, all of it after stretching,
    reaching over its edges after a crop. With `width` and `height` 1, boxes come back as fractions of the picture.
    Raises ValueError for an empty region.
    """
    left, top, right, bottom = region
    if not (right > left and bottom > top):
        raise ValueError(f"the picture's region {region} is empty")
    scale = np.array([width / (right - left), height / (bottom - top)] * 2)
    moved = (_boxes(boxes) - np.array([left, top] * 2)) * scale
    return np.asarray(np.clip(moved, 0.0, np.array([width, height] * 2)))


def nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    confidence: float = 0.001,
    overlap: float = 0.7,
    most: int = 300,
    candidates: int = 30_000,
    best_class_only: bool = False,
) -> Detections:
    """Greedy non-maximum suppression within each class, on boxes [n, 4] with scores [n, classes].

    A box may stand for every class it scores at least `confidence` for, or with `best_class_only` for its best one.
    From the highest score down, what overlaps a kept box of its class by more than `overlap` (IoU) goes. The `most`
    best of what is left come back in falling order of score, equal ones by class and place. Only the `candidates` best
    scores are looked at, which bounds time and memory. Raises ValueError for shapes that do not fit and NaN.
    """
    boxes, table = _boxes(boxes), np.asarray(scores, np.float64)
    if table.ndim != 2 or len(table) != len(boxes):
        raise ValueError(f"scores have shape {list(table.shape)}, expected [{len(boxes)}, classes]")
    if not np.isfinite(table).all():
        raise ValueError("scores hold NaN or infinity")
    places, classes = _candidates(table, confidence, best_class_only)
    values = table[places, classes]
    order = np.lexsort((places, classes, -values))[:candidates]
    places, classes, values = places[order], classes[order], values[order]
    chosen = _greedy(boxes[places], classes, overlap, most)
    return Detections(boxes[places[chosen]], values[chosen], classes[chosen])


def _candidates(table: Floats, confidence: float, best_class_only: bool) -> tuple[Ints, Ints]:
    if not best_class_only:
        places, classes = np.nonzero(table >= confidence)
        return places.astype(np.int64), classes.astype(np.int64)
    best = table.argmax(1) if table.shape[1] else np.zeros(0, np.int64)
    places = np.flatnonzero(table[np.arange(len(best)), best] >= confidence)
    return places.astype(np.int64), best[places].astype(np.int64)


def _greedy(boxes: Floats, classes: Ints, overlap: float, most: int) -> Ints:
    """Places of the boxes to keep, rising, of boxes in falling order of score.

    Block by block: against all that is kept by then, then one by one within the block. The last box that is kept ends
    it, which with a thousand candidates is usually long before the last candidate.
    """
    columns, kept = _columns(boxes), np.zeros(0, np.int64)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        block = block[~_covered(columns, classes, kept, block, overlap).any(0)]
        kept = np.append(kept, block[_first_of(_covered(columns, classes, block, block, overlap))])[:most]
        if len(kept) == most:
            break
    return kept


def _covered(columns: Floats, classes: Ints, these: Ints, those: Ints, overlap: float) -> NDArray[np.bool_]:
    """Whether each of the boxes at `these` overlaps each of `those` of its class by more than `overlap`."""
    one, two = columns[:, these, None], columns[:, None, those]
    shared = _shared(one, two)
    joined = one[4] + two[4] - shared
    apart = np.divide(shared, joined, out=np.zeros_like(shared), where=shared > 0) <= overlap
    return np.asarray(~apart & (classes[these, None] == classes[None, those]))


def _first_of(covered: NDArray[np.bool_]) -> list[int]:
    """Of boxes [n] in order, those that none kept before them covers, by [n, n]."""
    found: list[int] = []
    gone = np.zeros(len(covered), np.bool_)
    for place in range(len(covered)):
        if not gone[place]:
            found.append(place)
            gone |= covered[place]
    return found
