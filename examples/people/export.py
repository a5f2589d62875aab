"""Export the detector to ONNX: input `images` (1, 3, S, S) RGB in 0..1, output `output0` (1, 5, S * S * 21 / 1024).

    python -m examples.people.export --weights seeded --out examples/people/yolov8n.onnx
    python -m examples.people.export --weights best.pt --out examples/people/yolov8n.onnx

`seeded` weights are untrained: drawn from a fixed seed, with BatchNorm statistics taken from generated scenes, so that
activations have the ranges of real images. The same arguments give the same bytes with the same library versions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from examples.common.exporting import export, repeatable, with_weights
from examples.people.model import YOLOv8
from examples.people.scenes import make_scene

GREY = 114  # what letterboxing pads with


def letterbox(image: NDArray[np.uint8], size: int) -> Tensor:
    """(H, W, 3) uint8 RGB -> (3, size, size) float in 0..1, aspect kept, centred on grey."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    w, h = round(width * scale), round(height * scale)
    padded = np.full((size, size, 3), GREY, dtype=np.uint8)
    top, left = (size - h) // 2, (size - w) // 2
    padded[top : top + h, left : left + w] = np.asarray(
        Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
    )
    return torch.from_numpy(padded).permute(2, 0, 1).float() / 255


def batches(size: int, scenes: int = 32, batch: int = 4) -> Iterator[Tensor]:
    """Generated scenes of the training split."""
    for start in range(0, scenes, batch):
        images = [make_scene(0, "train", i).image for i in range(start, start + batch)]
        yield torch.stack([letterbox(image, size) for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the person detector to ONNX.")
    parser.add_argument("--weights", default="seeded", help="'seeded' or a checkpoint of train.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=640, help="input height and width in pixels, a multiple of 32")
    parser.add_argument("--width", type=float, default=0.25, help="channel multiplier; 0.25 is nano")
    parser.add_argument("--box-channels", type=int, help="narrow the head's box branch (tiny fixtures only)")
    parser.add_argument("--dynamo", action="store_true", help="use the dynamo exporter (opset 20)")
    args = parser.parse_args()
    repeatable()
    model = YOLOv8(width=args.width, box_channels=args.box_channels)
    # One size for the statistics whatever the export's, so that a fixture for 320 pixels is as fast to make.
    model = with_weights(model, args.weights, batches(min(args.size, 320)))
    export(model, args.out, args.size, "output0", dynamo=args.dynamo)


if __name__ == "__main__":
    main()
