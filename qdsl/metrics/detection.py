"""How good a detector is: average precision by COCO's rules, and precision and recall at the best confidence.

Picture by picture, detections are matched to labelled boxes at ten IoU thresholds; only scores and verdicts are kept.
From those come the metrics, of all pictures or of any selection of them, with repetition too (a bootstrap).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdsl.metrics.boxes import Detections, Floats, Ints, Truth, iou

IOU_THRESHOLDS = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
_RECALLS = np.linspace(0.0, 1.0, 101)
_EXACT = 1 - 1e-10  # an overlap of 1 may come out a rounding below 1


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """One picture's verdicts: for each detection that counts its score [n], class [n], whether it is right at each
    threshold [n, 10], and whether it is passed over there because it lies on a crowd [n, 10]; and how many labelled
    boxes of each class there are to find."""

    scores: Floats
    classes: Ints
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    present: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class: average precision at IoU 0.5 and averaged over 0.5 to 0.95; precision, recall and F1 at the common
    confidence, IoU 0.5; labelled boxes. What a class without labelled boxes scores is NaN."""

    ap50: float
    ap50_95: float
    precision: float
    recall: float
    f1: float
    present: int


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """Means over the classes that have labelled boxes, all between 0 and 1, and NaN where there are none.

    `precision`, `recall` and `f1` are those at `confidence`, the score from which the mean F1 at IoU 0.5 is largest; of
    equal ones the highest. `ap` is per threshold of `IOU_THRESHOLDS`.
    """

    map50: float
    map50_95: float
    precision: float
    recall: float
    f1: float
    confidence: float
    ap: tuple[float, ...]
    per_class: Mapping[int, ClassMetrics]
    pictures: int

    @property
    def fitness(self) -> float:
        """The one figure that detectors are chosen by: map50_95."""
        return self.map50_95


def match(found: Detections, truth: Truth, *, most: int = 100) -> Matches:
    """Match the detections of one picture to its labelled boxes, class by class, by COCO's rules.

    Of each class the `most` best detections count (COCO: 100). From the highest score down, a detection takes the free
    box that it overlaps most, if that reaches the threshold, else a crowd; of equal overlaps the later box.
    """
    order = np.argsort(-found.scores, kind="stable")
    places = [members[:most] for members in _members(found.classes[order])]
    shown = order[np.concatenate([np.zeros(0, np.int64), *places])]
    right = np.zeros((len(shown), len(IOU_THRESHOLDS)), np.bool_)
    ignored = np.zeros_like(right)
    start = 0
    for members in places:
        mine = order[members]
        theirs = truth.classes == found.classes[mine[0]]
        part = slice(start, start + len(members))
        if theirs.any():
            right[part], ignored[part] = _assign(found.boxes[mine], truth.boxes[theirs], truth.crowd[theirs])
        start += len(members)
    labels, counts = np.unique(truth.classes[~truth.crowd], return_counts=True)
    present = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    return Matches(found.scores[shown], found.classes[shown], right, ignored, present)


def _members(classes: Ints) -> Iterator[Ints]:
    """The places of each class, classes rising, places in order."""
    order = np.argsort(classes, kind="stable")
    if order.size:
        yield from np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)


def _assign(boxes: Floats, truth: Floats, crowd: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(right, ignored) [n, thresholds] of boxes in falling order of score."""
    overlaps = iou(boxes, truth, crowd)[:, ::-1]  # argmax takes the first of equals, the rule is the last
    crowd = crowd[::-1]
    thresholds = np.minimum(IOU_THRESHOLDS, _EXACT)
    right = np.zeros((len(boxes), thresholds.size), np.bool_)
    ignored = np.zeros_like(right)
    free = np.broadcast_to(~crowd, (thresholds.size, crowd.size)).copy()
    for place in np.flatnonzero(overlaps.max(1) >= thresholds[0]):
        row = overlaps[place]
        open_to = np.where(free & (row >= thresholds[:, None]), row, -1.0)
        best = open_to.argmax(1)
        right[place] = open_to.max(1) >= 0
        free[right[place], best[right[place]]] = False
        on_crowd = (crowd & (row >= thresholds[:, None])).any(1)
        ignored[place] = on_crowd & ~right[place]
    return right, ignored


def detection_metrics(matches: Sequence[Matches]) -> DetectionMetrics:
    """The metrics of all pictures in `matches`. Equal scores count in the order of the pictures, and within one in the
    order the detector gave them, as in pycocotools."""
    present: dict[int, int] = {}
    for picture in matches:
        for label, count in picture.present.items():
            present[label] = present.get(label, 0) + count
    present = {label: present[label] for label in sorted(present)}
    ranked = {label: _ranked(matches, label) for label in present}
    ap = {label: _average_precision(ranked[label], present[label]) for label in present}
    point = _operating_point(ranked, present)
    per_class = {
        label: ClassMetrics(float(ap[label][0]), float(ap[label].mean()), *point.values[label], present[label])
        for label in present
    }
    mean_ap = np.mean(list(ap.values()), axis=0) if ap else np.full(len(IOU_THRESHOLDS), np.nan)
    means = [float(np.mean([v[i] for v in point.values.values()])) if present else np.nan for i in range(3)]
    return DetectionMetrics(
        map50=float(mean_ap[0]),
        map50_95=float(mean_ap.mean()),
        precision=means[0],
        recall=means[1],
        f1=means[2],
        confidence=point.confidence,
        ap=tuple(mean_ap.tolist()),
        per_class=per_class,
        pictures=len(matches),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """All detections of one class in falling order of score."""

    scores: Floats
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


def _ranked(matches: Sequence[Matches], label: int) -> _Ranked:
    mine = [(picture, picture.classes == label) for picture in matches]
    scores = np.concatenate([picture.scores[which] for picture, which in mine])
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([picture.right[which] for picture, which in mine])
    ignored = np.concatenate([picture.ignored[which] for picture, which in mine])
    return _Ranked(scores[order], right[order], ignored[order])


def _average_precision(ranked: _Ranked, present: int) -> Floats:
    """Per threshold: the mean, over 101 recalls, of the largest precision at that recall or a higher one."""
    found = np.empty(len(IOU_THRESHOLDS))
    for at in range(found.size):
        hits = np.cumsum(ranked.right[:, at])
        misses = np.cumsum(~ranked.right[:, at] & ~ranked.ignored[:, at])
        precision = hits / (hits + misses + np.spacing(1))
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        found[at] = envelope[np.searchsorted(hits / present, _RECALLS, side="left")].mean()
    return found


@dataclass(frozen=True, slots=True)
class _Point:
    """A confidence, and precision, recall and F1 of each class there."""

    confidence: float
    values: Mapping[int, tuple[float, float, float]]


def _operating_point(ranked: Mapping[int, _Ranked], present: Mapping[int, int]) -> _Point:
    """The score with the largest mean F1 at IoU 0.5, of all scores there are: a curve is as long as those, and one
    class's curves at a time are held."""
    levels = np.unique(np.concatenate([np.zeros(0), *(r.scores for r in ranked.values())]))[::-1]
    if not levels.size:
        return _Point(np.nan, dict.fromkeys(ranked, (0.0, 0.0, 0.0)))
    total = np.zeros(levels.size)
    for label, detections in ranked.items():
        hits, misses = _at_levels(detections, levels)
        total += 2 * hits / (hits + misses + present[label])
    best = int(total.argmax())
    values = {}
    for label, detections in ranked.items():
        hits, misses = _at_levels(detections, levels[best : best + 1])
        right, shown = int(hits[0]), int(hits[0] + misses[0])
        precision = right / shown if shown else 0.0
        values[label] = (precision, right / present[label], 2 * right / (shown + present[label]))
    return _Point(float(levels[best]), values)


def _at_levels(detections: _Ranked, levels: Floats) -> tuple[Floats, Floats]:
    """How many detections are right, and wrong, with scores of at least each of `levels` (falling)."""
    ends = np.searchsorted(-detections.scores, -levels, side="right")
    right = detections.right[:, 0]
    wrong = ~right & ~detections.ignored[:, 0]
    counts = [np.append(0, np.cumsum(which))[ends] for which in (right, wrong)]
    return counts[0].astype(np.float64), counts[1].astype(np.float64)
