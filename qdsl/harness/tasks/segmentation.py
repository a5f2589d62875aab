"""`evaluate segmentation`: a class for each pixel, counted at the resolution of the model's input.

The mask goes through the same resizing as the picture, without mixing class numbers; a smaller map of scores is scaled
up bilinearly before the best class is taken. Pixels outside the picture and those of `ignore` do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.data.geometry import region
from qdsl.data.masks import place_mask, read_mask, same_shape
from qdsl.data.preprocess import resample
from qdsl.diag import Diagnostic, QdslError
from qdsl.harness.results import ClassMap, Key, Shown, Views
from qdsl.harness.tasks.base import (
    Case,
    Expected,
    OutputInfo,
    Outputs,
    Statistic,
    Verdict,
    counted,
    only_output,
    require_classes,
    require_outputs,
    unreadable,
    wrong,
)
from qdsl.metrics import SegmentationMetrics, pixel_confusion, segmentation_metrics

_OUTSIDE = -1
_GLANCE = 64
_WHITE = 255  # what drawing programs write for 1
_MANY = 1 << 15  # classes that a small map cannot hold


@dataclass(frozen=True, slots=True)
class Parted:
    """One picture: its pixels by class [classes, classes], rows the truth, and a small map of the best classes (every
    `step`-th pixel of the input)."""

    confusion: NDArray[np.int64]
    glance: NDArray[np.signedinteger]
    step: int


class Segmentation:
    """Scores [1, classes, h, w] or [1, h, w, classes], or classes [1, h, w] as integers; masks from `masks`."""

    def __init__(self, expected: Expected) -> None:
        require_outputs(expected)
        if expected.data.source != "masks":
            headline = f"dataset {expected.data.name} has no masks"
            cure = '`data NAME from masks "folder"` pairs pictures with masks'
            raise wrong("evaluate-labels", headline, expected.spec.span, cure)
        self._expected = expected
        self.told = expected.mapped("the best of the model's classes")
        self._classes = expected.dataset.classes
        self._steps = expected.input.steps if expected.input is not None else ()
        info = expected.known.get((expected.spec.output or expected.outputs)[0], OutputInfo())
        if info.plain is not None:
            self.classes_last(info.plain, integers="int" in info.dtype)

    def answer(self, outputs: Outputs, case: Case) -> Parted:
        truth = self._counted(case.sample.index)
        said = self._said(np.asarray(only_output(self._expected, outputs)), truth.shape)
        self._require_classes(truth, case.sample.index)
        try:
            confusion = pixel_confusion(said, truth, len(self._classes), ignore=_OUTSIDE)
        except ValueError as error:
            raise unreadable(self._expected, error) from None
        step = max(1, max(said.shape) // _GLANCE)
        return Parted(confusion, self._glance(said, step), step)

    def check(self, index: int) -> int:
        """Raises QdslError for a mask that cannot be read, does not fit its picture, or holds numbers that are no
        class; returns how many pixels it has at the size of the input."""
        truth = self._counted(index)
        if self._classes:
            self._require_classes(truth, index)
        return truth.size

    def _require_classes(self, truth: NDArray[np.int64], index: int) -> None:
        """Raises QdslError evaluate-labels for numbers past the last class."""
        beyond = np.unique(truth[truth >= len(self._classes)])
        if not beyond.size:
            return
        name, data = self._expected.dataset.ids[index], self._expected.data
        more = f" and {beyond.size - 3} more" if beyond.size > 3 else ""
        values = ", ".join(map(str, beyond[:3].tolist()))
        headline = (
            f"the mask of {name} holds {values}{more}, and the classes are numbered 0 to {len(self._classes) - 1}"
        )
        cure = f"masks hold class numbers from 0: write them so, or leave one out with `ignore {beyond[-1]}`"
        if len(self._classes) == 2 and set(np.unique(truth).tolist()) <= {_OUTSIDE, 0, _WHITE}:
            cure = "a mask of two classes holds 0 and 1, not 0 and 255: divide its values by 255"
        raise wrong("evaluate-labels", headline, data.span, cure)

    def _counted(self, index: int) -> NDArray[np.int64]:
        """The class of each pixel at the size of the input, _OUTSIDE where nothing counts."""
        truth = self._truth(index)
        return np.where(truth == self._expected.data.ignore, _OUTSIDE, truth)

    def _glance(self, classes: NDArray[np.int64], step: int) -> NDArray[np.signedinteger]:
        """Every `step`-th pixel, in as few bytes as hold it: a map is kept for every picture."""
        kind = np.int16 if len(self._classes) < _MANY else np.int64
        return np.asarray(classes[::step, ::step].clip(_OUTSIDE, np.iinfo(kind).max), kind)

    def _truth(self, index: int) -> NDArray[np.int64]:
        path = self._expected.dataset.mask(index)
        assert path is not None, "the source is `masks`"
        mask = read_mask(path, path.name, self._expected.data.span)
        size = self._expected.dataset.size(index)
        if size is not None and not same_shape(mask.shape, size):
            high, wide = mask.shape
            headline = f"the mask {path.name} has {wide}x{high} pixels, its picture {size[1]}x{size[0]}"
            cure = "a mask has the shape of its picture, turned upright as the picture is, at any size"
            raise wrong("evaluate-labels", headline, self._expected.spec.span, cure)
        return place_mask(mask, self._steps, _OUTSIDE)

    def _said(self, output: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The best class of each pixel, at the height and width of the input."""
        last = self.classes_last(output.shape, integers=output.dtype.kind in "iu")
        if output.ndim == 3:
            rows, columns = (_nearest(output.shape[1 + axis], shape[axis]) for axis in (0, 1))
            return np.asarray(output[0][np.ix_(rows, columns)], np.int64)
        scores = output[0] if last else output[0].transpose(1, 2, 0)
        if self._expected.dataset.numbers:
            scores = scores[:, :, list(self._expected.dataset.numbers)]
        scaled = resample(np.ascontiguousarray(scores, np.float32), int(shape[0]), int(shape[1]))
        return np.asarray(scaled.argmax(2), np.int64)

    def classes_last(self, shape: tuple[int, ...], *, integers: bool) -> bool:
        """Whether the classes stand last. Raises QdslError: evaluate-shape for what is no map of classes or scores,
        evaluate-classes for another number of them."""
        if len(shape) == 3 and shape[0] == 1 and integers:
            if self._expected.dataset.numbers:
                raise unreadable(
                    self._expected, "it has the class of each pixel, and `classes .. as ..` chooses of scores"
                )
            self._known(len(self._classes))
            return False
        if len(shape) != 4 or shape[0] != 1:
            raise unreadable(self._expected, f"it has shape {list(shape)}, expected [1, classes, h, w]")
        last = bool(self._classes) and self._last(shape)
        self._known(shape[3] if last else shape[1])
        return last

    def _last(self, shape: tuple[int, ...]) -> bool:
        """Whether the classes stand behind height and width. Where either could be the number of the model's classes,
        the two sides that are alike are height and width, and else they stand as the input's channels do."""
        first, second = (self._expected.fits(shape[axis]) for axis in (1, 3))
        if not self._expected.dataset.numbers or first != second:
            return second and not first
        if (shape[1] == shape[2]) != (shape[2] == shape[3]):
            return shape[1] == shape[2]
        return any(step.name == "layout" and step.args[0] == "nhwc" for step in self._steps)

    def _known(self, count: int) -> None:
        if not self._classes:
            if not count:
                headline = f"dataset {self._expected.data.name} names no classes, and the model gives none"
                raise wrong("evaluate-classes", headline, self._expected.spec.span, "write `classes [..]`")
            self._classes = tuple(str(index) for index in range(count))
        require_classes(self._expected, count, "the model")

    def verdict(self, answers: Sequence[Parted]) -> Verdict:
        found = segmentation_metrics([answer.confusion for answer in answers])
        scores = dict(zip(self._keys(), _values(found), strict=True))
        confusion = tuple(tuple(row) for row in found.confusion.tolist())
        return Verdict({key: value for key, value in scores.items() if value == value}, (), confusion)

    def _keys(self) -> list[Key]:
        whole = [Key(name) for name in ("miou", "accuracy", "dice", "precision", "recall", "f1")]
        each = ("iou", "dice", "precision", "recall", "f1")
        return whole + [Key(name, of) for of in self._classes for name in each]

    def statistic(self, answers: Sequence[Parted], keys: Sequence[Key]) -> Statistic:
        held = np.stack([answer.confusion for answer in answers])
        places = {key: place for place, key in enumerate(self._keys())}
        wanted = [places[key] for key in keys]

        def measure(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
            times = np.bincount(drawn, minlength=len(held))
            total = np.tensordot(times, held, axes=1)
            return np.array(_values(segmentation_metrics(total[None])))[wanted]

        return measure

    def distance(self, one: Parted, other: Parted) -> float:
        """The share of pixels with another class."""
        return float((one.glance != other.glance).mean())

    def words(self, answer: Parted) -> str:
        total = int(answer.confusion.sum())
        return f"{int(np.diagonal(answer.confusion).sum()) / total:.1%} right" if total else "nothing to count"

    def truth(self, answer: Parted) -> str:
        present = np.flatnonzero(answer.confusion.sum(1))
        return ", ".join(self._classes[index] for index in present[:5])

    def views(self, index: int, one: Parted, other: Parted) -> Views:
        """The maps of both answers and of the mask, over the picture as it was before it was resized."""
        size = self._expected.dataset.size(index)
        assert size is not None, "the source is `masks`"
        maps = (one.glance, other.glance, self._glance(self._counted(index), one.step))
        place = region(self._steps, *size)
        return Views(*size, *(Shown(cells=_over(cells, one.step, place, size)) for cells in maps))


def require_masks(expected: Expected, places: Iterable[int] | None = None, most: int | None = None) -> None:
    """Read the mask of every sample, or of those at `places` until there were `most` pixels; raises QdslError with what
    is wrong with any of them: each kind once, with how many there are."""
    task, pixels, looked = Segmentation(expected), 0, 0
    found: list[Diagnostic] = []
    for index in range(len(expected.dataset)) if places is None else places:
        looked += 1
        try:
            pixels += task.check(index)
        except QdslError as error:
            found += error.diagnostics
        if most is not None and pixels >= most:
            break
    if found:
        raise QdslError(counted(found, f"of {looked} masks"))


def _over(
    cells: NDArray[np.signedinteger], step: int, place: tuple[float, float, float, float], size: tuple[int, int]
) -> ClassMap:
    """A map of every `step`-th input pixel as one over the picture of `size` (height, width) that lies at `place` in
    the input."""
    share = min(1.0, _GLANCE / max(size))
    high, wide = (max(1, round(side * share)) for side in size)
    left, top, right, bottom = place
    rows = np.floor((top + (np.arange(high) + 0.5) / high * (bottom - top)) / step).astype(np.int64)
    columns = np.floor((left + (np.arange(wide) + 0.5) / wide * (right - left)) / step).astype(np.int64)
    inside = ((rows >= 0) & (rows < len(cells)))[:, None] & ((columns >= 0) & (columns < cells.shape[1]))[None]
    moved = cells[np.ix_(rows.clip(0, len(cells) - 1), columns.clip(0, cells.shape[1] - 1))]
    flat = np.where(inside, moved, _OUTSIDE).ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    runs = zip(flat[starts[:-1]].tolist(), np.diff(starts).tolist(), strict=True)
    return ClassMap(high, wide, tuple(runs))


def _nearest(have: int, want: int) -> NDArray[np.int64]:
    """For each of `want` places the nearest of `have`, centres on centres."""
    return np.minimum(((np.arange(want) + 0.5) * have / want).astype(np.int64), have - 1)


def _values(found: SegmentationMetrics) -> list[float]:
    """In the order of `_keys`."""
    whole = [found.miou, found.accuracy, found.dice, found.precision, found.recall, found.f1]
    return whole + [v for c in found.per_class for v in (c.iou, c.dice, c.precision, c.recall, c.f1)]
