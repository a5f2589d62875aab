"""Non-maximum suppression as textbooks have it: class by class, each kept box held against every box that waits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def suppressed(boxes: Array, scores: Array, confidence: float, overlap: float, most: int) -> tuple[Array, Array, Array]:
    """(boxes, scores, classes) that stay, best first; of equal scores the lower class, then the lower place."""
    kept: list[tuple[float, int, int]] = []
    for label in range(scores.shape[1]):
        places = np.flatnonzero(scores[:, label] >= confidence)
        waiting = places[np.argsort(-scores[places, label], kind="stable")]
        while waiting.size:
            first, waiting = waiting[0], waiting[1:]
            kept.append((-float(scores[first, label]), label, int(first)))
            waiting = waiting[overlaps(boxes[first], boxes[waiting]) <= overlap]
    chosen = sorted(kept)[:most]
    places = np.array([place for _, _, place in chosen], np.int64)
    labels = np.array([label for _, label, _ in chosen], np.int64)
    return boxes[places].reshape(-1, 4), scores[places, labels], labels


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of one box with each of `others`, side by side in one array."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.where((sides > 0).all(1), sides.prod(1), 0.0)
    whole = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)
