"""Export the detector to ONNX: input `images` (1, 3, 320, 320) RGB in 0..1, output `detections` (1, 8, 2100).

    python -m examples.steel.export --weights seeded --out examples/steel/steel.onnx
    python -m examples.steel.export --weights build/steel/best.pt --out examples/steel/steel.onnx

`seeded` weights are untrained: drawn from a fixed seed, with BatchNorm statistics taken from generated pictures. The
same arguments give the same bytes with the same library versions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from examples.common.exporting import export, repeatable, with_weights
from examples.steel.brush import SIDE
from examples.steel.model import Detector
from examples.steel.plates import make_scene


def batches(pictures: int = 32, batch: int = 8) -> Iterator[Tensor]:
    """Generated pictures of the val split."""
    for start in range(0, pictures, batch):
        images = np.stack([make_scene(0, "val", i).image for i in range(start, start + batch)])
        yield torch.from_numpy(images).movedim(-1, 1).float() / 255


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the steel defect detector to ONNX.")
    parser.add_argument("--weights", default="seeded", help="'seeded' or a checkpoint of train.py")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    repeatable()
    export(with_weights(Detector(), args.weights, batches()), args.out, SIDE, "detections")


if __name__ == "__main__":
    main()
