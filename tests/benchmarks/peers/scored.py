"""A model's score on pictures that are decoded already: what both sides of a comparison are judged by.

Needs numpy, onnxruntime and `qdsl.metrics`, which needs numpy, so that it runs in another quantizer's environment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
from qdsl import metrics  # noqa: E402

CONFIDENCE, OVERLAP, MOST = 0.001, 0.7, 300


class Scored:
    """Pictures as the model takes them (`x` of the file), and what is right: labelled boxes, or the class that the
    float model sees (`classes`)."""

    def __init__(self, path: str | Path) -> None:
        held = np.load(path)
        self.x = held["x"]
        self.classes = held.get("classes")
        if self.classes is None:
            self._regions, self._sizes = held["regions"], held["sizes"]
            of, boxes, labels, crowd = (held[f"truth_{word}"] for word in ("of", "boxes", "labels", "crowd"))
            self._truth = [
                metrics.Truth(boxes[of == n].tolist(), labels[of == n].tolist(), crowd[of == n].tolist())
                for n in range(len(self.x))
            ]

    def __len__(self) -> int:
        return len(self.x)

    def score(self, model: str | bytes, of: Iterable[int], threads: int = 1) -> float:
        """mAP50-95, or the share of pictures with the right class, over the pictures numbered `of`."""
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        run = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        name = run.get_inputs()[0].name
        answers = [(n, run.run(None, {name: self.x[n : n + 1]})[0]) for n in of]
        if self.classes is not None:
            return float(np.mean([answer.argmax() == self.classes[n] for n, answer in answers]))
        return metrics.detection_metrics([self._matched(n, answer) for n, answer in answers]).map50_95

    def _matched(self, number: int, answer: Any) -> Any:
        boxes, scores = metrics.yolox(answer, *self.x.shape[2:])
        found = metrics.nms(boxes, scores, confidence=CONFIDENCE, overlap=OVERLAP, most=MOST)
        moved = metrics.to_picture(found.boxes, tuple(self._regions[number]), *self._sizes[number])
        return metrics.match(metrics.Detections(moved, found.scores, found.classes), self._truth[number])
