"""`evaluate detection`: boxes with a class and a score, held against labelled boxes by COCO's rules.

Of each picture the candidates above `confidence` (0.001) go through non-maximum suppression at `nms` (0.7), 300 boxes
are kept, and the best 100 of a class count. Precision, recall and F1 are at the confidence of best mean F1, IoU 0.5;
`fitness` is map50_95.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.data.geometry import region
from qdsl.harness.results import Box, Key, Shown, Views
from qdsl.harness.tasks.base import (
    Case,
    Expected,
    OutputInfo,
    Outputs,
    Statistic,
    Verdict,
    no_boxes,
    require_classes,
    require_outputs,
    unreadable,
    wrong,
)
from qdsl.harness.tasks.heads import Read, most_outputs, read
from qdsl.harness.tasks.python import called, misread
from qdsl.metrics import (
    Detections,
    Matches,
    ResampledPrecision,
    Truth,
    detection_metrics,
    match,
    nms,
    to_picture,
)
from qdsl.metrics.decoding import detections, of_classes

CONFIDENCE, OVERLAP, MOST = 0.001, 0.7, 300
_BEST = {"map50": 0, "map50_95": 1, "fitness": 1}
_RATES = ("precision", "recall", "f1")
_SHOWN = 0.25  # a score from which a box is worth a word


@dataclass(frozen=True, slots=True)
class Found:
    """One picture: the boxes found and labelled, in pixels of the picture, and which are right."""

    boxes: Detections
    truth: Truth
    matches: Matches


class Detection:
    """Whatever head `decode` names, or the shapes of the outputs are those of."""

    def __init__(self, expected: Expected) -> None:
        self.told = expected.mapped("boxes of the model's classes")
        self._settings = dict(expected.spec.settings)
        if expected.data.source not in ("yolo", "coco"):
            headline = f"dataset {expected.data.name} has no boxes"
            cure = "`yolo` and `coco` datasets have labelled boxes"
            raise wrong("evaluate-labels", headline, expected.spec.span, cure, "without, use `evaluate fidelity`")
        self._expected = expected
        self._classes = expected.dataset.classes
        self._steps = expected.input.steps if expected.input is not None else ()
        self._layout = next((str(s.args[0]) for s in self._steps if s.name == "layout"), "nchw")
        self._head: Read | None = None
        if self._settings.get("decode") != "python":
            require_outputs(expected, most=most_outputs(expected.spec))
            self._head = read(expected, expected.known, *expected.size) if expected.size is not None else None

    def answer(self, outputs: Outputs, case: Case) -> Found:
        (array,) = case.sample.arrays.values()
        high, wide = array.shape[1:3] if self._layout == "nhwc" else array.shape[2:4]
        try:
            found = self._read(outputs, int(high), int(wide))
        except ValueError as error:
            own = self._settings.get("decode") == "python"
            raise misread(error, self._expected.spec) if own else unreadable(self._expected, error) from None
        size = self._expected.dataset.size(case.sample.index)
        assert size is not None, "the sources are pictures"
        boxes = to_picture(found.boxes, region(self._steps, *size), size[1], size[0])
        placed = Detections(boxes, found.scores, found.classes)
        truth = self._truth(case.sample.index, *size)
        return Found(placed, truth, match(placed, truth))

    def _truth(self, index: int, high: int, wide: int) -> Truth:
        labels = [label for label in self._expected.dataset.labels(index) if label.box is not None]
        scale = np.array([wide, high, wide, high], np.float64)
        boxes = np.array([label.box for label in labels], np.float64).reshape(-1, 4) * scale
        classes = np.array([label.index for label in labels], np.int64)
        return Truth(boxes, classes, np.array([label.crowd for label in labels], np.bool_))

    def _read(self, outputs: Outputs, high: int, wide: int) -> Detections:
        """What the head found, in input pixels. Raises ValueError for outputs of another shape."""
        confidence, overlap = suppression(self._settings)
        if self._settings.get("decode") == "python":
            return self._own(outputs, high, wide)
        if self._head is None:
            self._head = read_of(self._expected, outputs, high, wide)
        arrays = [outputs[name] for name in self._head.outputs]
        head = self._head.head
        found = detections(head, arrays, high, wide, confidence=confidence, overlap=overlap, most=MOST)
        if found.classes.size and int(found.classes.max()) >= len(self._classes):
            require_classes(self._expected, int(found.classes.max()) + 1, "the model")
        return found

    def _own(self, outputs: Outputs, high: int, wide: int) -> Detections:
        """What the recipe's own function makes of the outputs."""
        confidence, overlap = suppression(self._settings)
        assert self._expected.python is not None, "it was loaded, or the recipe refused"
        found = called(self._expected.python, outputs, high, wide, self._expected.spec)
        only = self._expected.dataset.numbers
        if found.scores.ndim == 1:
            kept = found.scores >= confidence
            return of_classes(Detections(found.boxes[kept], found.scores[kept], found.labels[kept]), only)
        require_classes(self._expected, found.scores.shape[1], "what `decode python` returns")
        scores = found.scores[:, list(only)] if only else found.scores
        return nms(found.boxes, scores, confidence=confidence, overlap=overlap, most=MOST)

    def verdict(self, answers: Sequence[Found]) -> Verdict:
        found = detection_metrics([answer.matches for answer in answers])
        if not found.per_class:
            raise no_boxes(self._expected)
        scores = {
            Key("map50"): found.map50,
            Key("map50_95"): found.map50_95,
            Key("fitness"): found.fitness,
            Key("precision"): found.precision,
            Key("recall"): found.recall,
            Key("f1"): found.f1,
            Key("confidence"): found.confidence,
        }
        for label, each in found.per_class.items():
            values = (each.ap50, each.ap50_95, each.precision, each.recall, each.f1)
            names = ("map50", "map50_95", *_RATES)
            scores |= {Key(name, self._name(label)): value for name, value in zip(names, values, strict=True)}
        confidences = np.sort(np.concatenate([np.zeros(0), *(answer.boxes.scores for answer in answers)]))
        return Verdict(scores, tuple(confidences.tolist()))

    def _name(self, label: int) -> str:
        return self._classes[label] if label < len(self._classes) else str(label)

    def statistic(self, answers: Sequence[Found], keys: Sequence[Key]) -> Statistic:
        """Average precisions anew for each draw; precision, recall and F1 at the one confidence that is best for all
        pictures."""
        matches = [answer.matches for answer in answers]
        precision = ResampledPrecision(matches)
        rates = _Rates(matches, detection_metrics(matches).confidence, precision.labels)
        names = [self._name(label) for label in precision.labels]

        def measure(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
            per_class, per_rate = precision.per_class(drawn), rates.per_class(drawn)
            each = {"map50": per_class[:, 0], "map50_95": per_class.mean(1), "fitness": per_class.mean(1)}
            each |= dict(zip(_RATES, per_rate, strict=True))
            return np.array([_of(each[key.metric], names, key.of) for key in keys])

        return measure

    def distance(self, one: Found, other: Found) -> float:
        """How much score has no counterpart: boxes of both matched at IoU 0.5 in falling order of score, the sum of the
        scores left over, and of the differences of those matched."""
        return _unmatched(one.boxes, other.boxes)

    def words(self, answer: Found) -> str:
        shown = answer.boxes.scores >= _SHOWN
        counts = np.bincount(answer.boxes.classes[shown], minlength=1)
        told = [f"{count} {self._name(label)}" for label, count in enumerate(counts.tolist()) if count]
        return ", ".join(told) or "nothing"

    def truth(self, answer: Found) -> str:
        counts = np.bincount(answer.truth.classes, minlength=1)
        told = [f"{count} {self._name(label)}" for label, count in enumerate(counts.tolist()) if count]
        return ", ".join(told) or "nothing"

    def views(self, index: int, one: Found, other: Found) -> Views:
        """The boxes worth a word, and the labelled ones."""
        size = self._expected.dataset.size(index)
        assert size is not None, "the sources are pictures"
        truth = tuple(_box(*each) for each in zip(one.truth.boxes, one.truth.classes, strict=True))
        return Views(*size, _shown(one.boxes), _shown(other.boxes), Shown(truth))


def _shown(found: Detections) -> Shown:
    kept = np.flatnonzero(found.scores >= _SHOWN)
    return Shown(tuple(_box(found.boxes[at], found.classes[at], found.scores[at]) for at in kept))


def _box(corners: NDArray[np.float64], label: np.int64, score: np.float64 | None = None) -> Box:
    """Rounded to what can be seen."""
    x0, y0, x1, y1 = (round(float(value), 1) for value in corners)
    return Box(x0, y0, x1, y1, int(label), None if score is None else round(float(score), 3))


def suppression(settings: Mapping[str, Any]) -> tuple[float, float]:
    """The least score and the largest overlap that an `evaluate` asks for."""
    return float(settings.get("confidence", CONFIDENCE)), float(settings.get("nms", OVERLAP))


def read_of(expected: Expected, outputs: Outputs, high: int, wide: int) -> Read:
    """How the outputs of a run become boxes; `high` and `wide` are those of the input. Raises as `read` does."""
    seen = {
        name: replace(expected.known.get(name, OutputInfo()), shape=array.shape, dtype=str(array.dtype))
        for name, array in outputs.items()
    }
    found = read(expected, seen, high, wide)
    assert found is not None, "a run has shapes"
    return found


class _Rates:
    """Precision, recall and F1 of each class over any draw of pictures, at one confidence, IoU 0.5."""

    def __init__(self, matches: Sequence[Matches], confidence: float, labels: Sequence[int]) -> None:
        counts = np.zeros((3, len(matches), len(labels)))
        for at, picture in enumerate(matches):
            shown = (picture.scores >= confidence) & ~picture.ignored[:, 0]
            for place, label in enumerate(labels):
                mine = shown & (picture.classes == label)
                counts[:, at, place] = (mine & picture.right[:, 0]).sum(), mine.sum(), picture.present.get(label, 0)
        self._counts = counts

    def per_class(self, drawn: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
        times = np.bincount(drawn, minlength=self._counts.shape[1])
        right, shown, present = np.tensordot(times, self._counts, axes=(0, 1))
        absent = np.where(present > 0, 0.0, np.nan)
        precision = np.divide(right, shown, out=absent.copy(), where=(shown > 0) & (present > 0))
        recall = np.divide(right, present, out=absent.copy(), where=present > 0)
        f1 = np.divide(2 * right, shown + present, out=absent.copy(), where=present > 0)
        return precision, recall, f1


def _of(values: NDArray[np.float64], names: Sequence[str], wanted: str) -> float:
    """The figure of one class, or the mean of those that were drawn; NaN where there is none."""
    if wanted:
        return float(values[names.index(wanted)]) if wanted in names else np.nan
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def _unmatched(one: Detections, other: Detections) -> float:
    from qdsl.metrics import iou

    overlaps = iou(one.boxes, other.boxes)
    overlaps[one.classes[:, None] != other.classes[None]] = 0.0
    free = np.ones(len(other.scores), np.bool_)
    total = 0.0
    for row in np.argsort(-one.scores, kind="stable"):
        fits = np.where(free, overlaps[row], 0.0)
        best = int(fits.argmax()) if fits.size else 0
        if fits.size and fits[best] >= 0.5:
            free[best] = False
            total += abs(float(one.scores[row] - other.scores[best]))
        else:
            total += float(one.scores[row])
    return total + float(other.scores[free].sum())
