"""Train the detector on scenes written by plates.py, and write the averaged weights.

    python examples/steel/train.py --data build/steel --out build/steel/best.pt --steps 6000 --batch 16

Defects are rare: drawn as they come, scale would be in one picture of a hundred. So each picture's class is drawn
first, clean strip or one of the defects, and then a scene of that class. With `--state FILE` everything is saved there
now and then, and the same command goes on from it after an interruption. AdamW or SGD with Nesterov momentum, linear
warm-up, cosine decay, and an exponential moving average of the weights, which is what is written. Pictures are scaled,
moved, mirrored, and changed in brightness and contrast.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brush import SIDE
from loss import Targets, detection_loss
from model import Detector
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

WARM_UP = 0.05  # of all steps
FLOOR = 0.01  # of the learning rate, at the end
EMA_DECAY, EMA_RAMP = 0.9995, 1000.0  # the average starts short and grows long
CLIP = 10.0
GREY = 114
ZOOM = (0.8, 1.5)  # bounds of the random scale; past 1 a part of the picture is shown
CLEAN = -1  # the class of a scene without boxes

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]


def read_labels(path: Path) -> Boxes:
    """(boxes, 5) class, then centre x, centre y, width and height as fractions."""
    rows = [[float(word) for word in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array(rows, dtype=np.float32).reshape(-1, 5)


class Scenes(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Endless augmented scenes, balanced by class: item i depends only on (seed, i), not on the worker that makes it.

    An item is a picture (3, SIDE, SIDE) in 0..1 and its boxes (boxes, 5): corners in pixels, then the class. The share
    `clean` of the items is clean strip; the others show each defect equally often. A scene of several classes counts as
    one of the rarest.
    """

    def __init__(self, data: Path, seed: int, length: int, clean: float = 0.25) -> None:
        images = sorted((data / "images" / "train").glob("*.jpg"))
        if not images:
            raise SystemExit(f"no pictures in {data / 'images' / 'train'}")
        self.scenes = [(path, read_labels(data / "labels" / "train" / f"{path.stem}.txt")) for path in images]
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
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.98, 1.02, 3)
    lit = ((pixels - mean) * rng.uniform(0.85, 1.15) + mean) * gain
    rows = np.concatenate((boxes, labels[:, :1]), 1)[kept]
    return np.ascontiguousarray(lit.clip(0, 255).astype(np.uint8)), rows.astype(np.float32, copy=False)


def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Targets]:
    """Stack pictures, and pad boxes to the longest list of the batch (at least one)."""
    most = max(1, *(len(rows) for _, rows in items))
    rows = torch.zeros(len(items), most, 5)
    valid = torch.zeros(len(items), most, dtype=torch.bool)
    for number, (_, found) in enumerate(items):
        rows[number, : len(found)] = found
        valid[number, : len(found)] = True
    return torch.stack([image for image, _ in items]), Targets(rows[..., :4], rows[..., 4].long(), valid)


def make_optimizer(model: nn.Module, name: str, rate: float) -> torch.optim.Optimizer:
    """Weight decay for convolution weights only: biases and BatchNorm have nothing to overfit with."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 5e-4 if name == "sgd" else 0.02},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
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
def update_average(average: nn.Module, model: nn.Module, step: int) -> None:
    decay = EMA_DECAY * (1 - math.exp(-(step + 1) / EMA_RAMP))
    for mine, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.dtype.is_floating_point:
            mine.lerp_(theirs, 1 - decay)
        else:
            mine.copy_(theirs)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    model = Detector().to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if args.weights:
        model.load_state_dict(torch.load(args.weights, map_location=device, weights_only=True))
    average = copy.deepcopy(model).eval()
    model.train()
    optimizer = make_optimizer(model, args.optimizer, args.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, args.steps))
    kept: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = restore(args.state, kept, device)
    scenes = Scenes(args.data, args.seed, args.steps * args.batch, args.clean)
    rest = torch.utils.data.Subset(scenes, range(first * args.batch, len(scenes)))
    loader = torch.utils.data.DataLoader(rest, args.batch, num_workers=args.workers, collate_fn=collate)
    began = time.perf_counter()
    seen: dict[str, float] = {}  # running means of the parts
    for step, (images, targets) in enumerate(loader, first):
        targets = Targets(targets.boxes.to(device), targets.classes.to(device), targets.valid.to(device))
        # bfloat16 needs no loss scaling; the loss itself is computed in float32.
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bfloat16):
            maps = model(images.to(device, memory_format=torch.channels_last))
        loss, parts = detection_loss(maps, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        update_average(average, model, step)
        seen = {name: 0.95 * seen.get(name, value) + 0.05 * value for name, value in parts.items()}
        if step % args.log == 0 or step == args.steps - 1:
            spent = (time.perf_counter() - began) / (step + 1 - first)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in seen.items())
            print(f"step {step + 1}/{args.steps}  {shown}  {spent:.2f} s/step", flush=True)
        if args.state and (step + 1) % args.save == 0:
            save(args.state, {name: part.state_dict() for name, part in kept.items()} | {"step": step + 1})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save(args.out, {name: value.cpu() for name, value in average.state_dict().items()})


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
    parser = argparse.ArgumentParser(description="Train the steel defect detector.")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/train and labels/train")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint for export.py --weights")
    parser.add_argument("--weights", type=Path, help="start from this checkpoint")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--clean", type=float, default=0.25, help="share of clean pictures; defects share the rest")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="adamw")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate; 0.02 suits sgd")
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
