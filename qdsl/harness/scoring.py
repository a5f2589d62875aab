"""Scores the labelled samples of a bundle, on the device: numpy and the metrics beside it, nothing else of qdsl.

`task` is the part of bundle.json of that name. Boxes of labels are in pixels of the model's input: average precision
does not depend on the unit. The samples are few, so that these figures say whether a device answers as it should, not
how good a model is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.metrics import (
    Detections,
    Truth,
    classification_metrics,
    detection_metrics,
    guesses,
    match,
    pixel_confusion,
    segmentation_metrics,
    two_classes,
)
from qdsl.metrics.decoding import Head, detections

Rows = Sequence[NDArray[Any]]


def scores(task: Mapping[str, Any], outputs: Mapping[str, Rows]) -> dict[str, float]:
    """The figures of one model: `outputs` holds, by name, one array [1, ..] per sample."""
    return _TASKS[task["task"]](task, outputs)


def _classification(task: Mapping[str, Any], outputs: Mapping[str, Rows]) -> dict[str, float]:
    table = np.concatenate([np.asarray(row, np.float64).reshape(1, -1) for row in outputs[task["outputs"][0]]])
    if table.shape[1] == 1:
        table = two_classes(table, logits=task["logits"])
    table = table[:, task["only"]] if task["only"] else table
    found = classification_metrics([guesses(table, np.array(task["labels"], np.int64))])
    return {"top1": found.top1, "f1": found.macro.f1}


def _detection(task: Mapping[str, Any], outputs: Mapping[str, Rows]) -> dict[str, float]:
    matches = [match(_found(task, outputs, at), _truth(label)) for at, label in enumerate(task["labels"])]
    found = detection_metrics(matches)
    return {
        "map50": found.map50,
        "map50_95": found.map50_95,
        "precision": found.precision,
        "recall": found.recall,
    }


def _found(task: Mapping[str, Any], outputs: Mapping[str, Rows], at: int) -> Detections:
    """What one sample's outputs say, cut to where its picture lies."""
    found = detections(
        Head.of(task["head"]),
        [np.asarray(outputs[name][at]) for name in task["outputs"]],
        task["height"],
        task["width"],
        confidence=task["confidence"],
        overlap=task["nms"],
        most=task["most"],
    )
    left, top, right, bottom = task["labels"][at]["region"]
    return Detections(np.clip(found.boxes, [left, top] * 2, [right, bottom] * 2), found.scores, found.classes)


def _truth(label: Mapping[str, Any]) -> Truth:
    boxes = np.array(label["boxes"], np.float64).reshape(-1, 4)
    return Truth(boxes, np.array(label["classes"], np.int64), np.array(label["crowd"], np.bool_))


def _segmentation(task: Mapping[str, Any], outputs: Mapping[str, Rows]) -> dict[str, float]:
    with np.load(Path(__file__).resolve().parent / task["masks"], allow_pickle=False) as stored:
        masks = stored["masks"].astype(np.int64)
    classes = len(task["classes"])
    pairs = zip(outputs[task["outputs"][0]], masks, strict=False)
    only = task["only"] or list(range(classes))
    counted = [
        pixel_confusion(_map(row, mask, only, last=task["last"]), mask, classes, ignore=-1) for row, mask in pairs
    ]
    found = segmentation_metrics(counted)
    return {"miou": found.miou, "accuracy": found.accuracy}


def _map(row: NDArray[Any], mask: NDArray[np.int64], only: Sequence[int], *, last: bool) -> NDArray[np.int64]:
    """The best class of each pixel of `mask`, of the classes in `only`, nearest in the map of scores or classes."""
    axis = 2 if last else 0
    best = row[0] if row.ndim == 3 else row[0].take(only, axis).argmax(axis)
    rows, columns = (
        np.minimum(((np.arange(want) + 0.5) * have / want).astype(np.int64), have - 1)
        for have, want in zip(best.shape, mask.shape, strict=True)
    )
    return np.asarray(best[np.ix_(rows, columns)], np.int64)


_TASKS = {"classification": _classification, "detection": _detection, "segmentation": _segmentation}
