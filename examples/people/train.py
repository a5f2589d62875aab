"""Train the detector on scenes written by scenes.py, and write the averaged weights.

    python examples/people/train.py --data build/people --out build/people/best.pt --steps 6000 --size 640

With `--state FILE` everything is saved there now and then, and the same command goes on from it after an interruption.
SGD with Nesterov momentum (or AdamW), linear warm-up, cosine decay, and an exponential moving average of the weights,
which is what is written. Images are letterboxed at random scale and place, mirrored, and changed in colour.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loss import Targets, detection_loss
from model import YOLOv8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

WARM_UP = 0.05  # of all steps
FLOOR = 0.01  # of the learning rate, at the end
EMA_DECAY, EMA_RAMP = 0.9998, 0.2  # the average starts short and grows long, over a share of all steps
CLIP = 10.0
GREY = 114

Pixels = NDArray[np.uint8]


class Scenes(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Endless shuffled, augmented scenes: item i depends only on (seed, i), not on the worker that makes it.

    An item is an image (3, size, size) in 0..1 and its boxes (boxes, 4) as corners in pixels.
    """

    def __init__(self, data: Path, size: int, seed: int, length: int, zoom: tuple[float, float] = (0.6, 1.6)) -> None:
        self.images = sorted((data / "images" / "train").glob("*.jpg"))
        if not self.images:
            raise SystemExit(f"no images in {data / 'images' / 'train'}")
        self.size, self.zoom, self.seed, self.length = size, zoom, seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        epoch, place = divmod(index, len(self.images))
        order = np.random.default_rng([self.seed, epoch, 1]).permutation(len(self.images))
        path = self.images[int(order[place])]
        label = path.parents[2] / "labels" / path.parent.name / f"{path.stem}.txt"
        with Image.open(path) as image:
            most = round(self.size * self.zoom[1])
            image.draft("RGB", (most, most))  # JPEG decodes to half the size where that is enough
            pixels, boxes = augment(rng, image.convert("RGB"), read_boxes(label), self.size, self.zoom)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, torch.from_numpy(boxes)


def read_boxes(path: Path) -> NDArray[np.float32]:
    """(boxes, 4) centre x, centre y, width and height as fractions."""
    rows = [[float(word) for word in line.split()[1:]] for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


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
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.93, 1.07, 3)
    lit = ((pixels - 110) * rng.uniform(0.8, 1.2) + 110) * gain
    return np.ascontiguousarray(lit.clip(0, 255).astype(np.uint8)), corners.astype(np.float32, copy=False)


def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Targets]:
    """Stack images, and pad boxes to the longest list of the batch (at least one)."""
    most = max(1, *(len(boxes) for _, boxes in items))
    boxes = torch.zeros(len(items), most, 4)
    valid = torch.zeros(len(items), most, dtype=torch.bool)
    for row, (_, found) in enumerate(items):
        boxes[row, : len(found)] = found
        valid[row, : len(found)] = True
    return torch.stack([image for image, _ in items]), Targets(boxes, torch.zeros_like(valid, dtype=torch.long), valid)


def make_optimizer(model: nn.Module, name: str, rate: float) -> torch.optim.Optimizer:
    """Weight decay for convolution weights only: biases and BatchNorm have nothing to overfit with."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 5e-4 if name == "sgd" else 0.01},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.937, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999))


def rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine from 1 to `FLOOR`."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    turn = (step - warm) / max(1, steps - warm)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * turn)) / 2


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, steps: int) -> None:
    decay = EMA_DECAY * (1 - math.exp(-(step + 1) / (EMA_RAMP * steps)))
    for mine, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.dtype.is_floating_point:
            mine.lerp_(theirs, 1 - decay)
        else:
            mine.copy_(theirs)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    model = YOLOv8().to(device, memory_format=torch.channels_last)
    if args.weights:
        model.load_state_dict(torch.load(args.weights, map_location=device, weights_only=True))
    average = copy.deepcopy(model).eval()
    model.train()
    optimizer = make_optimizer(model, args.optimizer, args.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, args.steps))
    parts_of_state: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = restore(args.state, parts_of_state, device)
    scenes = Scenes(args.data, args.size, args.seed, args.steps * args.batch, tuple(args.zoom))
    rest = torch.utils.data.Subset(scenes, range(first * args.batch, len(scenes)))
    loader = torch.utils.data.DataLoader(rest, args.batch, num_workers=args.workers, collate_fn=collate)
    began = time.perf_counter()
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
        update_average(average, model, step, args.steps)
        if step % args.log == 0 or step == args.steps - 1:
            spent = (time.perf_counter() - began) / (step + 1 - first)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in parts.items())
            print(f"step {step + 1}/{args.steps}  {shown}  {spent:.2f} s/step", flush=True)
        if args.state and (step + 1) % args.save == 0:
            save(args.state, {name: part.state_dict() for name, part in parts_of_state.items()} | {"step": step + 1})
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
    parser = argparse.ArgumentParser(description="Train the person detector.")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/train and labels/train")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint for export.py --weights")
    parser.add_argument("--weights", type=Path, help="start from this checkpoint")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=640, help="input height and width in pixels, a multiple of 32")
    parser.add_argument("--zoom", type=float, nargs=2, default=(0.6, 1.6), help="bounds of the random scale")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="adamw")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate; 0.01 suits sgd")
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
