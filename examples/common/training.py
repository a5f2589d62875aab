"""The loop that trains a network: AdamW or SGD with Nesterov momentum, linear warm-up, cosine decay.

With `--state FILE` everything is saved there now and then, and the same command goes on from it after an interruption.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WARM_UP = 0.05  # of all steps
FLOOR = 0.01  # of the learning rate, at the end

Pixels = NDArray[np.uint8]
Loss = Callable[[Any, Any], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True)
class Habit:
    """What differs between the examples. Weight decay and momentum are those of SGD where there are two."""

    decay: tuple[float, float]  # of sgd, and of adamw
    momentum: float = 0.9  # of sgd
    clip: float = 10.0  # of the gradients' norm
    depthwise_decays: bool = True  # depthwise convolutions have few weights

    def decays(self, parameter: nn.Parameter) -> bool:
        """Whether to keep a weight small: biases and BatchNorm have nothing to overfit with."""
        return parameter.ndim > 1 and (self.depthwise_decays or parameter.shape[1] > 1)


@dataclass(frozen=True)
class Average:
    """A moving average of the weights, which is what is written: it starts short and grows long over `ramp` steps."""

    decay: float
    ramp: float

    @torch.no_grad()
    def update(self, average: nn.Module, model: nn.Module, step: int) -> None:
        decay = self.decay * (1 - math.exp(-(step + 1) / self.ramp))
        for mine, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


@dataclass(frozen=True)
class Targets:
    """Boxes (N, M, 4) as x0, y0, x1, y1 in pixels, class indices (N, M), and which of them are real (N, M)."""

    boxes: Tensor
    classes: Tensor
    valid: Tensor

    def to(self, device: torch.device) -> Targets:
        return Targets(self.boxes.to(device), self.classes.to(device), self.valid.to(device))


def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Targets]:
    """Stack pictures, and pad their boxes to the longest list of the batch (at least one): corners in pixels and, where
    there are several, the class."""
    most = max(1, *(len(rows) for _, rows in items))
    rows = torch.zeros(len(items), most, 5)
    valid = torch.zeros(len(items), most, dtype=torch.bool)
    for number, (_, found) in enumerate(items):
        rows[number, : len(found), : found.shape[1]] = found
        valid[number, : len(found)] = True
    return torch.stack([image for image, _ in items]), Targets(rows[..., :4], rows[..., 4].long(), valid)


def relit(
    rng: np.random.Generator,
    pixels: NDArray[Any],
    middle: float | np.floating[Any],
    gain: tuple[float, float],
    cast: tuple[float, float],
    contrast: tuple[float, float],
) -> Pixels:
    """(H, W, 3) pixels in another light: brightness, a gain per channel, and contrast around `middle`, each drawn
    between its bounds."""
    gains = rng.uniform(*gain) * rng.uniform(*cast, 3)
    lit = ((pixels - middle) * rng.uniform(*contrast) + middle) * gains
    return np.ascontiguousarray(lit.clip(0, 255).astype(np.uint8))


def make_optimizer(model: nn.Module, name: str, rate: float, habit: Habit) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if habit.decays(p)], "weight_decay": habit.decay[name != "sgd"]},
        {"params": [p for p in parameters if not habit.decays(p)], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=habit.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999))


def rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine from 1 to `FLOOR`."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    turn = (step - warm) / max(1, steps - warm)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * turn)) / 2


def prepared(model: nn.Module, args: argparse.Namespace) -> nn.Module:
    """The network on its device, with the weights to start from."""
    model.to(torch.device(args.device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    if args.weights:
        model.load_state_dict(torch.load(args.weights, map_location=args.device, weights_only=True))
    return model.train()


def fit(
    args: argparse.Namespace,
    model: nn.Module,
    items: torch.utils.data.Dataset[Any],
    loss: Loss,
    habit: Habit,
    average: Average | None = None,
    collate_fn: Callable[[list[Any]], Any] | None = None,
) -> None:
    """Take `items` of (picture, what is wanted) in batches, one step each, and write the weights to `args.out`.

    `loss` gets what the model makes of a batch in training mode, and what is wanted; it returns the loss and its parts,
    of which running means are printed.
    """
    device, count = torch.device(args.device), len(items)  # type: ignore[arg-type]
    steps = count // args.batch
    written = copy.deepcopy(model).eval() if average else model
    optimizer = make_optimizer(model, args.optimizer, args.rate, habit)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps))
    networks = {"model": model, "average": written} if average else {"model": model}
    parts: dict[str, Any] = {**networks, "optimizer": optimizer, "schedule": schedule}
    first = restore(args.state, parts, device)
    rest = torch.utils.data.Subset(items, range(first * args.batch, count))
    loader = torch.utils.data.DataLoader(rest, args.batch, num_workers=args.workers, collate_fn=collate_fn)
    began, seen = time.perf_counter(), dict[str, float]()
    for step, (images, wanted) in enumerate(loader, first):
        # bfloat16 needs no loss scaling; the loss itself is computed in float32.
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bfloat16):
            found = model(images.to(device, memory_format=torch.channels_last))
        value, told = loss(found, wanted.to(device))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), habit.clip)
        optimizer.step()
        schedule.step()
        if average:
            average.update(written, model, step)
        seen = {name: 0.95 * seen.get(name, value) + 0.05 * value for name, value in told.items()}
        if step % args.log == 0 or step == steps - 1:
            spent = (time.perf_counter() - began) / (step + 1 - first)
            shown = "  ".join(f"{name} {mean:.3f}" for name, mean in seen.items())
            print(f"step {step + 1}/{steps}  {shown}  {spent:.2f} s/step", flush=True)
        if args.state and (step + 1) % args.save == 0:
            save(args.state, {name: part.state_dict() for name, part in parts.items()} | {"step": step + 1})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save(args.out, {name: tensor.cpu() for name, tensor in written.state_dict().items()})


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


def arguments(description: str, data: str, *, batch: int, rate: float, sgd: float) -> argparse.ArgumentParser:
    """What every example's training is told: `rate` is for AdamW, `sgd` would suit SGD."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {data}")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint for the export's --weights")
    parser.add_argument("--weights", type=Path, help="start from this checkpoint")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="adamw")
    parser.add_argument("--rate", type=float, default=rate, help=f"peak learning rate; {sgd:g} suits sgd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="fast on GPUs and on CPUs with AMX or AVX512-BF16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--log", type=int, default=20)
    parser.add_argument("--state", type=Path, help="save everything here now and then, and go on from it")
    parser.add_argument("--save", type=int, default=200, help="steps between two savings of --state")
    return parser
