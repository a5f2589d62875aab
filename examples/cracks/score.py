"""Measure an exported classifier on a folder of pictures: top-1, and precision, recall and F1 of cracks.

    python examples/cracks/score.py --model examples/cracks/mobilenet_v1_025.onnx --data examples/cracks/val

`--classes` names the two folders where they are called otherwise, the one without cracks first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

SIDE = 224


@dataclass(frozen=True)
class Score:
    """Pictures by truth and guess: cracks found, clean ones taken for cracks, cracks missed, clean ones left alone."""

    found: int
    false_alarms: int
    missed: int
    passed: int

    @property
    def top1(self) -> float:
        return (self.found + self.passed) / max(1, self.found + self.false_alarms + self.missed + self.passed)

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.false_alarms)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 where nothing is found."""
        return 2 * self.found / max(1, 2 * self.found + self.false_alarms + self.missed)


def pixels(path: Path) -> NDArray[np.float32]:
    """(1, 3, SIDE, SIDE) in -1..127/128, as the recipes' `input` block says."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(small, dtype=np.float32) * np.float32(1 / 128) - 1
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def score(model: Path, data: Path, classes: Sequence[str] = ("clean", "crack"), threads: int = 0) -> Score:
    """Run `model` on every picture of the two folders in `data`; the larger logit is the guess."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    counts = np.zeros((2, 2), dtype=int)
    for truth, name in enumerate(classes):
        for path in sorted((data / name).glob("*.jpg")):
            (logits,) = session.run(["logits"], {"images": pixels(path)})
            counts[truth, int(logits[0].argmax())] += 1
    if not counts.any():
        raise SystemExit(f"no pictures in {data}/{{{','.join(classes)}}}")
    return Score(int(counts[1, 1]), int(counts[0, 1]), int(counts[1, 0]), int(counts[0, 0]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a crack classifier on a folder of pictures.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder per class")
    parser.add_argument("--classes", nargs=2, default=("clean", "crack"), metavar=("CLEAN", "CRACK"))
    parser.add_argument("--threads", type=int, default=0, help="0 takes all")
    args = parser.parse_args()
    made = score(args.model, args.data, args.classes, args.threads)
    print(f"top1 {made.top1:.4f}  precision {made.precision:.4f}  recall {made.recall:.4f}  f1 {made.f1:.4f}")
    print(f"{made.found} found, {made.missed} missed, {made.false_alarms} false alarms, {made.passed} passed")


if __name__ == "__main__":
    main()
