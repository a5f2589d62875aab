"""Train a classifier on pictures written by surfaces.py, and write its weights.

    python -m examples.cracks.train --network mobilenet_v1_025 --data build/cracks --out build/cracks/v1.pt --epochs 20

Pictures are mirrored, turned by quarters, and changed in brightness and contrast; preprocessing is that of the recipes:
224 pixels square, then value / 128 - 1. `examples/common/training.py` says how it trains.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from examples.common.training import Habit, Pixels, arguments, fit, prepared, relit
from examples.cracks.model import NETWORKS

SIDE = 224
CLASSES = ("clean", "crack")
HABIT = Habit(decay=(1e-4, 0.02), clip=5.0, depthwise_decays=False)


def files(data: Path, split: str) -> list[tuple[Path, int]]:
    """Pictures of a split with the index of their class, in order of names."""
    found = [(path, c) for c, name in enumerate(CLASSES) for path in sorted((data / split / name).glob("*.jpg"))]
    if not found:
        raise SystemExit(f"no pictures in {data / split}/{{{','.join(CLASSES)}}}")
    return found


def read(path: Path) -> Pixels:
    """(SIDE, SIDE, 3) uint8 RGB."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def prepare(pixels: Pixels) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float in -1..127/128, as `rescale 1/128; mean 1` in a recipe."""
    return torch.from_numpy(pixels).movedim(-1, -3).float() / 128 - 1


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Endless shuffled, augmented pictures: item i depends only on (seed, i), not on the worker that makes it.

    An item is a picture (3, SIDE, SIDE) as `prepare` makes it, and the index of its class.
    """

    def __init__(self, data: Path, seed: int, length: int) -> None:
        self.files, self.seed, self.length = files(data, "train"), seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        epoch, place = divmod(index, len(self.files))
        order = np.random.default_rng([self.seed, epoch, 1]).permutation(len(self.files))
        path, kind = self.files[int(order[place])]
        return prepare(augment(np.random.default_rng([self.seed, index]), read(path))), kind


def augment(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Mirror, turn by quarters and recolour: (H, W, 3) uint8 in and out, H equal to W."""
    turned = np.rot90(pixels, int(rng.integers(4)))
    if rng.random() < 0.5:
        turned = turned[:, ::-1]
    middle = turned.mean(dtype=np.float32)
    return relit(rng, turned, middle, gain=(0.75, 1.25), cast=(0.97, 1.03), contrast=(0.8, 1.2))


@torch.no_grad()
def hits(model: nn.Module, data: Path, split: str, device: torch.device) -> tuple[int, int, int, int]:
    """True and false positives, false and true negatives for the last class, by the larger logit."""
    model.eval()
    counts = np.zeros((2, 2), dtype=int)
    found = files(data, split)
    for start in range(0, len(found), 32):
        part = found[start : start + 32]
        logits = model(prepare(np.stack([read(path) for path, _ in part])).to(device))
        for (_, kind), guess in zip(part, logits.argmax(1).tolist(), strict=True):
            counts[kind, guess] += 1
    model.train()
    return int(counts[1, 1]), int(counts[0, 1]), int(counts[1, 0]), int(counts[0, 0])


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    model = prepared(NETWORKS[args.network](), args)
    steps = max(1, round(args.epochs * len(files(args.data, "train")) / args.batch))

    def loss(logits: Tensor, kinds: Tensor) -> tuple[Tensor, dict[str, float]]:
        value = nn.functional.cross_entropy(logits.float(), kinds, label_smoothing=args.smoothing)
        return value, {"loss": float(value.detach())}

    fit(args, model, Pictures(args.data, args.seed, steps * args.batch), loss, HABIT)
    if (args.data / "val").is_dir():
        found, wrong, missed, rest_right = hits(model, args.data, "val", torch.device(args.device))
        print(f"val: {found} cracks found, {missed} missed, {wrong} false alarms, {rest_right} clean")


def main() -> None:
    data = "train/clean, train/crack, val/.."
    parser = arguments("Train a crack classifier.", data, batch=32, rate=3e-3, sgd=0.1)
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--smoothing", type=float, default=0.0, help="of the labels")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
