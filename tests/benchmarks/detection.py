"""The accuracy of a detector in ONNX Runtime on a dataset of a recipe; the average precisions are pycocotools'.

from detection import evaluate
evaluate("build/yolov8n_static/ort/model.onnx", "recipes/yolov8n_static.q", "val").map50_95
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
from PIL import Image

from qdsl import data, metrics
from qdsl.data.geometry import region
from qdsl.lang.recipe import InputSpec

sys.path.append(str(Path(__file__).resolve().parents[1]))
from coco_reference import reference

CONFIDENCE, OVERLAP, MOST = 0.001, 0.7, 300


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Fractions of 1: the average precisions by pycocotools (100 boxes per class and picture), precision and recall at
    the confidence of best mean F1, IoU 0.5."""

    map50_95: float
    map50: float
    precision: float
    recall: float
    confidence: float
    pictures: int

    def __str__(self) -> str:
        return (
            f"mAP50-95 {self.map50_95:.4f}  mAP50 {self.map50:.4f}  precision {self.precision:.4f}  "
            f"recall {self.recall:.4f}  at confidence {self.confidence:.3f}, {self.pictures} pictures"
        )


def session(model: str | Path | bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options)


def inputs_of(run: ort.InferenceSession) -> dict[str, data.ModelInput]:
    types = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(float16)": "float16"}
    return {i.name: data.ModelInput(types.get(i.type, "float32"), tuple(i.shape)) for i in run.get_inputs()}


def opened(recipe: str | Path, dataset: str, takes: dict[str, data.ModelInput]) -> tuple[data.Dataset, InputSpec]:
    """A dataset of a recipe, preprocessed for a model, and the `input` block that says how."""
    from qdsl.work.prepared import read

    resolved = read(Path(recipe), None).recipe
    return data.open(resolved.dataset(dataset), resolved.inputs, takes), resolved.inputs[0]


def decoded(head: str, output: Any, height: int, width: int) -> metrics.Detections:
    boxes, scores = metrics.yolov8(output) if head == "yolov8" else metrics.yolox(output, height, width)
    return metrics.nms(boxes, scores, confidence=CONFIDENCE, overlap=OVERLAP, most=MOST)


def detect(run: ort.InferenceSession, held: data.Dataset, spec: InputSpec, head: str) -> Iterator[metrics.Detections]:
    """What the model finds in each picture, in pixels of the picture."""
    for sample in held:
        (array,) = sample.arrays.values()
        high, wide = (int(n) for n in array.shape[2:])
        found = decoded(head, run.run(None, dict(sample.arrays))[0], high, wide)
        with Image.open(held.file(sample.index)[1]) as picture:
            width, height = picture.size
        boxes = metrics.to_picture(found.boxes, region(spec.steps, height, width), width, height)
        yield metrics.Detections(boxes, found.scores, found.classes)


def truths(held: data.Dataset) -> list[metrics.Truth]:
    """The labelled boxes of each picture, in pixels of the picture."""
    found = []
    for index in range(len(held)):
        with Image.open(held.file(index)[1]) as picture:
            width, height = picture.size
        labels = [label for label in held.labels(index) if label.box is not None]
        boxes = [[x0 * width, y0 * height, x1 * width, y1 * height] for x0, y0, x1, y1 in (la.box for la in labels)]
        found.append(metrics.Truth(boxes, [la.index for la in labels], [la.crowd for la in labels]))
    return found


def judged(found: Sequence[metrics.Detections], truth: Sequence[metrics.Truth]) -> Accuracy:
    ours = metrics.detection_metrics([metrics.match(f, t) for f, t in zip(found, truth, strict=True)])
    coco = reference(found, truth)
    if abs(coco.map50_95 - ours.map50_95) > 1e-6 or abs(coco.map50 - ours.map50) > 1e-6:
        raise SystemExit(f"pycocotools finds {coco}, qdsl.metrics {ours}")
    return Accuracy(coco.map50_95, coco.map50, ours.precision, ours.recall, ours.confidence, len(truth))


def evaluate(
    model: str | Path | bytes, recipe: str | Path, dataset: str = "val", threads: int = 1, head: str = "yolov8"
) -> Accuracy:
    """The accuracy of a model, a file or its bytes, on a dataset of a recipe; `head` is yolov8 or yolox."""
    run = session(model, threads)
    held, spec = opened(recipe, dataset, inputs_of(run))
    return judged(list(detect(run, held, spec, head)), truths(held))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--dataset", default="val")
    parser.add_argument("--head", choices=("yolov8", "yolox"), default="yolov8")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for model in args.models:
        print(f"{model}: {evaluate(model, args.recipe, args.dataset, args.threads, args.head)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
