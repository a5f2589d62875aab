"""Train a classifier on pictures written by surfaces.py, and write its weights.

    python examples/cracks/train.py --network mobilenet_v1_025 --data build/cracks --out build/cracks/v1.pt --epochs 20

With `--state FILE` everything is saved there now and then, and the same command goes on from it after an interruption.
AdamW or SGD with Nesterov momentum, linear warm-up, cosine decay. Pictures are mirrored, turned by quarters, and
changed in brightness and contrast; preprocessing is that of the recipes: 224 pixels square, then value / 128 - 1.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model import NETWORKS
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

WARM_UP = 0.05  # of all steps
FLOOR = 0.01  # of the learning rate, at the end
CLIP = 5.0
SIDE = 224
CLASSES = ("clean", "crack")

Pixels = NDArray[np.uint8]


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
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.97, 1.03, 3)
    lit = ((turned - middle) * rng.uniform(0.8, 1.2) + middle) * gain
    return np.ascontiguousarray(lit.clip(0, 255).astype(np.uint8))


def make_optimizer(model: nn.Module, name: str, rate: float) -> torch.optim.Optimizer:
    """Weight decay for matrices and dense convolutions only: depthwise weights, biases and BatchNorm are too few."""
    decayed = [p for p in model.parameters() if p.ndim > 1 and p.shape[1] > 1]
    others = [p for p in model.parameters() if p.ndim <= 1 or p.shape[1] == 1]
    groups = [
        {"params": decayed, "weight_decay": 1e-4 if name == "sgd" else 0.02},
        {"params": others, "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999))


def rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine from 1 to `FLOOR`."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    turn = (step - warm) / max(1, steps - warm)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * turn)) / 2


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
    device = torch.device(args.device)
    model = NETWORKS[args.network]().to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if args.weights:
        model.load_state_dict(torch.load(args.weights, map_location=device, weights_only=True))
    model.train()
    steps = max(1, round(args.epochs * len(files(args.data, "train")) / args.batch))
    optimizer = make_optimizer(model, args.optimizer, args.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps))
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = restore(args.state, parts, device)
    pictures = Pictures(args.data, args.seed, steps * args.batch)
    rest = torch.utils.data.Subset(pictures, range(first * args.batch, len(pictures)))
    loader = torch.utils.data.DataLoader(rest, args.batch, num_workers=args.workers)
    began, seen = time.perf_counter(), 0.0
    for step, (images, kinds) in enumerate(loader, first):
        # bfloat16 needs no loss scaling; the loss itself is computed in float32.
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bfloat16):
            logits = model(images.to(device, memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits.float(), kinds.to(device), label_smoothing=args.smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        seen = float(loss.detach()) if step == first else 0.95 * seen + 0.05 * float(loss.detach())
        if step % args.log == 0 or step == steps - 1:
            spent = (time.perf_counter() - began) / (step + 1 - first)
            print(f"step {step + 1}/{steps}  loss {seen:.3f}  {spent:.2f} s/step", flush=True)
        if args.state and (step + 1) % args.save == 0:
            save(args.state, {name: part.state_dict() for name, part in parts.items()} | {"step": step + 1})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save(args.out, {name: value.cpu() for name, value in model.state_dict().items()})
    if (args.data / "val").is_dir():
        found, wrong, missed, rest_right = hits(model, args.data, "val", device)
        print(f"val: {found} cracks found, {missed} missed, {wrong} false alarms, {rest_right} clean")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write aside and rename: a kill leaves the last whole file."""
    aside = path.with_name(f"{path.name}.tmp")
    torch.save(state, aside)
    aside.replace(path)


def restore(path: Path | None, parts: dict[str, Any], device: torch.device) -> int:
    """Load a saved state into `parts` and return the steps already taken; 0 when there is none."""
    if path is None or not path.exists():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a crack classifier.")
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/clean, train/crack, val/..")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint for export.py --weights")
    parser.add_argument("--weights", type=Path, help="start from this checkpoint")
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="adamw")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate; 0.1 suits sgd")
    parser.add_argument("--smoothing", type=float, default=0.0, help="of the labels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="fast on GPUs and on CPUs with AMX or AVX512-BF16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--log", type=int, default=20)
    parser.add_argument("--state", type=Path, help="save everything here now and then, and go on from it")
    parser.add_argument("--save", type=int, default=200, help="steps between two savings of --state")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
