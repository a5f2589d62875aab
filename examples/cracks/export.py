"""Export a classifier to ONNX: input `images` (1, 3, 224, 224) RGB in -1..127/128, output `logits` (1, 2).

    python -m examples.cracks.export --network mobilenet_v1_025 --weights v1.pt --out build/cracks/v1.onnx

`--weights seeded` are untrained: drawn from a fixed seed, with BatchNorm statistics taken from generated pictures. The
same arguments give the same bytes with the same library versions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from examples.common.exporting import export, repeatable, with_weights
from examples.cracks.model import NETWORKS
from examples.cracks.surfaces import make_picture
from examples.cracks.train import SIDE, prepare


def batches(pictures: int = 32, batch: int = 8) -> Iterator[Tensor]:
    """Generated pictures of the training split."""
    for start in range(0, pictures, batch):
        yield prepare(np.stack([make_picture(0, "train", i) for i in range(start, start + batch)]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a crack classifier to ONNX.")
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--weights", default="seeded", help="'seeded' or a checkpoint of train.py")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    repeatable()
    export(with_weights(NETWORKS[args.network](), args.weights, batches()), args.out, SIDE, "logits")


if __name__ == "__main__":
    main()
