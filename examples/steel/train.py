"""Train the detector on scenes written by plates.py, and write the averaged weights.

    python -m examples.steel.train --data build/steel --out build/steel/best.pt --steps 6000 --batch 16

Defects are rare: drawn as they come, scale would be in one picture of a hundred. So each picture's class is drawn
first, clean strip or one of the defects, and then a scene of that class. Pictures are scaled, moved, mirrored, and
changed in brightness and contrast. What is written is an exponential moving average of the weights.
`examples/common/training.py` says how it trains.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from examples.common.boxes import read_scenes
from examples.common.training import Average, Habit, Pixels, arguments, collate, fit, prepared, relit
from examples.steel.brush import SIDE
from examples.steel.loss import detection_loss
from examples.steel.model import Detector

HABIT = Habit(decay=(5e-4, 0.02))
AVERAGE = Average(decay=0.9995, ramp=1000.0)
GREY = 114
ZOOM = (0.8, 1.5)  # bounds of the random scale; past 1 a part of the picture is shown
CLEAN = -1  # the class of a scene without boxes

Boxes = NDArray[np.float32]


class Scenes(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Endless augmented scenes, balanced by class: item i depends only on (seed, i), not on the worker that makes it.

    An item is a picture (3, SIDE, SIDE) in 0..1 and its boxes (boxes, 5): corners in pixels, then the class. The share
    `clean` of the items is clean strip; the others show each defect equally often. A scene of several classes counts as
    one of the rarest.
    """

    def __init__(self, data: Path, seed: int, length: int, clean: float = 0.25) -> None:
        self.scenes = read_scenes(data, "train")
        self.seed, self.length, self.clean = seed, length, clean
        shown = [{int(kind) for kind in labels[:, 0]} for _, labels in self.scenes]
        scenes_of = Counter(kind for kinds in shown for kind in kinds)
        self.groups: dict[int, list[int]] = {}
        for number, kinds in enumerate(shown):
            rarest = min(sorted(kinds), key=lambda kind: scenes_of[kind], default=CLEAN)
            self.groups.setdefault(rarest, []).append(number)
        self.defects = sorted(set(self.groups) - {CLEAN})

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        clean = not self.defects or (CLEAN in self.groups and rng.random() < self.clean)
        group = self.groups[CLEAN if clean else self.defects[int(rng.integers(len(self.defects)))]]
        path, labels = self.scenes[group[int(rng.integers(len(group)))]]
        with Image.open(path) as image:
            pixels, boxes = augment(rng, image.convert("RGB"), labels)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, torch.from_numpy(boxes)


def augment(rng: np.random.Generator, image: Image.Image, labels: Boxes) -> tuple[Pixels, Boxes]:
    """Scale, place, mirror and light anew: (SIDE, SIDE, 3) pixels and (boxes, 5) corners in pixels, then the class."""
    factor = 1.0 if rng.random() < 0.3 else math.exp(rng.uniform(math.log(ZOOM[0]), math.log(ZOOM[1])))
    side = round(SIDE * factor)
    left, top = (round(rng.uniform(min(0, SIDE - side), max(0, SIDE - side))) for _ in range(2))
    canvas = Image.new("RGB", (SIDE, SIDE), (GREY, GREY, GREY))
    canvas.paste(image.resize((side, side), Image.Resampling.BILINEAR), (left, top))
    pixels = np.asarray(canvas, dtype=np.float32)
    middle, half = labels[:, 1:3] * side, labels[:, 3:5] * side / 2
    place = np.array([left, top], dtype=np.float32)
    whole = np.concatenate((middle - half + place, middle + half + place), 1)
    boxes = whole.clip(0, SIDE)
    kept = (boxes[:, 2:] - boxes[:, :2]).prod(1) > 0.3 * (whole[:, 2:] - whole[:, :2]).prod(1)
    kept &= (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) > 4
    for axis in (0, 1):  # the strip has no right way round
        if rng.random() < 0.5:
            pixels = np.flip(pixels, 1 - axis)
            boxes[:, [axis, 2 + axis]] = SIDE - boxes[:, [2 + axis, axis]]
    mean = pixels.mean(dtype=np.float32)
    lit = relit(rng, pixels, mean, gain=(0.85, 1.15), cast=(0.98, 1.02), contrast=(0.85, 1.15))
    rows = np.concatenate((boxes, labels[:, :1]), 1)[kept]
    return lit, rows.astype(np.float32, copy=False)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    model = prepared(Detector(), args)
    scenes = Scenes(args.data, args.seed, args.steps * args.batch, args.clean)
    fit(args, model, scenes, detection_loss, HABIT, AVERAGE, collate)


def main() -> None:
    data = "images/train and labels/train"
    parser = arguments("Train the steel defect detector.", data, batch=16, rate=1.5e-3, sgd=0.02)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--clean", type=float, default=0.25, help="share of clean pictures; defects share the rest")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
