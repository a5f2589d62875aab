"""pycocotools on the same boxes: the judge of `qdsl.metrics`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdsl.metrics import Detections, Truth


@dataclass(frozen=True, slots=True)
class Reference:
    """COCO's figures: mean over classes and thresholds, at IoU 0.5, and per class (NaN without labelled boxes)."""

    map50_95: float
    map50: float
    per_class: dict[int, float]


def reference(found: Sequence[Detections], truth: Sequence[Truth], most: int = 100) -> Reference:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels = sorted({int(c) for t in truth for c in t.classes} | {int(c) for d in found for c in d.classes} | {0})
    coco, results = COCO(), COCO()
    coco.dataset = {"images": [{"id": i} for i in range(len(truth))], "categories": [{"id": c} for c in labels]}
    results.dataset = dict(coco.dataset)
    coco.dataset["annotations"] = [
        _entry(image, box, label) | {"iscrowd": int(crowd)}
        for image, t in enumerate(truth)
        for box, label, crowd in zip(t.boxes, t.classes, t.crowd, strict=True)
    ]
    results.dataset["annotations"] = [
        _entry(image, box, label) | {"score": float(score)}
        for image, d in enumerate(found)
        for box, label, score in zip(d.boxes, d.classes, d.scores, strict=True)
    ]
    for held in (coco, results):
        for number, entry in enumerate(held.dataset["annotations"], 1):
            entry["id"] = number  # 0 would read as "not matched"
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results.createIndex()
        judge = COCOeval(coco, results, "bbox")
        judge.params.maxDets = [most]
        judge.params.areaRng, judge.params.areaRngLbl = [[-1.0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = np.where(judge.eval["precision"] < 0, np.nan, judge.eval["precision"])[:, :, :, 0, -1]
    known = [k for k in range(len(labels)) if not np.isnan(precision[:, :, k]).all()]
    if not known:
        return Reference(np.nan, np.nan, {})
    per_class = {labels[k]: float(precision[:, :, k].mean()) for k in known}
    return Reference(float(precision[:, :, known].mean()), float(precision[0][:, known].mean()), per_class)


def _entry(image: int, box: np.ndarray, label: int) -> dict[str, object]:
    x0, y0, x1, y1 = (float(v) for v in box)
    place = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
    return {"image_id": image, "category_id": int(label), **place}
