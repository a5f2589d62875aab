"""Train the detector on scenes written by scenes.py, and write the averaged weights.

    python -m examples.people.train --data build/people --out build/people/best.pt --steps 6000 --size 640

Images are letterboxed at random scale and place, mirrored, and changed in colour. What is written is an exponential
moving average of the weights. `examples/common/training.py` says how it trains.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from examples.common.boxes import read_scenes
from examples.common.training import Average, Habit, Pixels, arguments, collate, fit, prepared, relit
from examples.people.loss import detection_loss
from examples.people.model import YOLOv8

HABIT = Habit(decay=(5e-4, 0.01), momentum=0.937)
EMA_DECAY, EMA_RAMP = 0.9998, 0.2  # the average gets long over a share of all steps
GREY = 114


class Scenes(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Endless shuffled, augmented scenes: item i depends only on (seed, i), not on the worker that makes it.

    An item is an image (3, size, size) in 0..1 and its boxes (boxes, 4) as corners in pixels.
    """

    def __init__(self, data: Path, size: int, seed: int, length: int, zoom: tuple[float, float] = (0.6, 1.6)) -> None:
        self.scenes = read_scenes(data, "train")
        self.size, self.zoom, self.seed, self.length = size, zoom, seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        epoch, place = divmod(index, len(self.scenes))
        order = np.random.default_rng([self.seed, epoch, 1]).permutation(len(self.scenes))
        path, labels = self.scenes[int(order[place])]
        with Image.open(path) as image:
            most = round(self.size * self.zoom[1])
            image.draft("RGB", (most, most))  # JPEG decodes to half the size where that is enough
            pixels, boxes = augment(rng, image.convert("RGB"), labels[:, 1:], self.size, self.zoom)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, torch.from_numpy(boxes)


def augment(
    rng: np.random.Generator, image: Image.Image, boxes: NDArray[np.float32], size: int, zoom: tuple[float, float]
) -> tuple[Pixels, NDArray[np.float32]]:
    """Scale, place, mirror and recolour: (size, size, 3) pixels and corner boxes (boxes, 4) in pixels.

    `zoom` bounds the scale, 1 being the whole image: past it the canvas shows a part of the image at random.
    """
    factor = 1.0 if rng.random() < 0.3 else math.exp(rng.uniform(math.log(zoom[0]), math.log(zoom[1])))
    scale = size / max(image.size) * factor
    w, h = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    left, top = (round(rng.uniform(min(0, size - n), max(0, size - n))) for n in (w, h))
    canvas = Image.new("RGB", (size, size), (GREY, GREY, GREY))
    canvas.paste(image.resize((w, h), Image.Resampling.BILINEAR), (left, top))
    pixels = np.asarray(canvas, dtype=np.float32)
    corners = np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)
    corners = corners * np.array([w, h, w, h], dtype=np.float32) + np.array([left, top, left, top], dtype=np.float32)
    whole = (corners[:, 2:] - corners[:, :2]).prod(1)
    corners = corners.clip(0, size)
    kept = (corners[:, 2:] - corners[:, :2]).prod(1) > 0.25 * whole
    kept &= (corners[:, 2:] - corners[:, :2]).min(1, initial=np.inf) > 2
    corners = corners[kept]
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        mirrored = (size - corners[:, 2], corners[:, 1], size - corners[:, 0], corners[:, 3])
        corners = np.stack(mirrored, 1)
    lit = relit(rng, pixels, 110, gain=(0.7, 1.3), cast=(0.93, 1.07), contrast=(0.8, 1.2))
    return lit, corners.astype(np.float32, copy=False)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    model = prepared(YOLOv8(), args)
    scenes = Scenes(args.data, args.size, args.seed, args.steps * args.batch, tuple(args.zoom))
    fit(args, model, scenes, detection_loss, HABIT, Average(EMA_DECAY, EMA_RAMP * args.steps), collate)


def main() -> None:
    data = "images/train and labels/train"
    parser = arguments("Train the person detector.", data, batch=16, rate=1e-3, sgd=0.01)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--size", type=int, default=640, help="input height and width in pixels, a multiple of 32")
    parser.add_argument("--zoom", type=float, nargs=2, default=(0.6, 1.6), help="bounds of the random scale")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
