"""What a task needs on another machine to score samples: its settings and the labels, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.data.geometry import region
from qdsl.data.masks import place_mask, read_mask
from qdsl.harness.tasks import Expected
from qdsl.harness.tasks.classification import Classification
from qdsl.harness.tasks.detection import MOST, read_of, suppression
from qdsl.harness.tasks.segmentation import Segmentation

Outputs = Mapping[str, NDArray[Any]]


def portable(
    expected: Expected, indices: Sequence[int], shape: Sequence[int], outputs: Outputs
) -> dict[str, Any] | None:
    """The `task` of a bundle for the samples at `indices`: `shape` is that of the model's only input, `outputs` are
    those of one sample. None for a task without labels, and for one that a device cannot score."""
    make = _TASKS.get(expected.spec.task)
    return None if make is None else make(expected, indices, shape, outputs)


def masks(expected: Expected, indices: Sequence[int]) -> NDArray[np.int16] | None:
    """The classes of each pixel [n, h, w] at the size of the model's input, -1 for what does not count; None for tasks
    without masks, and where sizes differ."""
    if expected.spec.task != "segmentation":
        return None
    steps = expected.input.steps if expected.input is not None else ()
    found = []
    for index in indices:
        path = expected.dataset.mask(index)
        assert path is not None, "the source is `masks`"
        placed = place_mask(read_mask(path, path.name, expected.data.span), steps, -1)
        found.append(np.where(placed == expected.data.ignore, -1, placed).astype(np.int16))
    return np.stack(found) if len({each.shape for each in found}) == 1 else None


def _outputs(expected: Expected) -> list[str]:
    return list(expected.spec.output or expected.outputs)


def _classification(
    expected: Expected, indices: Sequence[int], shape: Sequence[int], outputs: Outputs
) -> dict[str, Any]:
    labels = [next(label.index for label in expected.dataset.labels(index) if label.box is None) for index in indices]
    return {
        "task": "classification",
        "outputs": _outputs(expected)[:1],
        "classes": list(expected.dataset.classes),
        "labels": labels,
        "only": list(expected.dataset.numbers),
        "logits": Classification(expected).logits,
    }


def _detection(
    expected: Expected, indices: Sequence[int], shape: Sequence[int], outputs: Outputs
) -> dict[str, Any] | None:
    """None where the recipe's own code decodes: the device has none of it."""
    steps = expected.input.steps if expected.input is not None else ()
    nhwc = any(step.name == "layout" and step.args[0] == "nhwc" for step in steps)
    high, wide = (int(n) for n in (shape[1:3] if nhwc else shape[2:4]))
    settings = dict(expected.spec.settings)
    if settings.get("decode") == "python":
        return None
    found = read_of(expected, outputs, high, wide)
    confidence, overlap = suppression(settings)
    return {
        "task": "detection",
        "outputs": list(found.outputs),
        "head": found.head.stored(),
        "height": high,
        "width": wide,
        "confidence": confidence,
        "nms": overlap,
        "most": MOST,
        "classes": list(expected.dataset.classes),
        "labels": [_boxes(expected, index) for index in indices],
    }


def _boxes(expected: Expected, index: int) -> dict[str, Any]:
    """The labelled boxes of a sample in pixels of the input, and where its picture lies there."""
    size = expected.dataset.size(index)
    assert size is not None, "the sources are pictures"
    left, top, right, bottom = region(expected.input.steps if expected.input is not None else (), *size)
    labels = [label for label in expected.dataset.labels(index) if label.box is not None]
    scale, shift = np.array([right - left, bottom - top] * 2), np.array([left, top] * 2)
    boxes = np.array([label.box for label in labels], np.float64).reshape(-1, 4) * scale + shift
    return {
        "boxes": boxes.round(3).tolist(),
        "classes": [label.index for label in labels],
        "crowd": [label.crowd for label in labels],
        "region": [left, top, right, bottom],
    }


def _segmentation(expected: Expected, indices: Sequence[int], shape: Sequence[int], outputs: Outputs) -> dict[str, Any]:
    said = outputs[_outputs(expected)[0]]
    return {
        "task": "segmentation",
        "outputs": _outputs(expected)[:1],
        "last": Segmentation(expected).classes_last(said.shape, integers=said.dtype.kind in "iu"),
        "classes": list(expected.dataset.classes),
        "only": list(expected.dataset.numbers),
        "masks": "masks.npz",
    }


_TASKS: dict[str, Callable[[Expected, Sequence[int], Sequence[int], Outputs], dict[str, Any] | None]] = {
    "classification": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
}
