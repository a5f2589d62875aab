"""Scores of weights by gradients: of the loss near the weights as they are, and by its curvature there.

`gradient`: the weights are moved by noise of the deviation epsilon / ||W|| each, and the score is the L1 norm of the
gradient of the loss, its mean over trials. Where the float model's own outputs are what the loss is held against, the
gradient at the weights themselves is nothing: so near them it tells how steeply the loss rises around.

`hessian`: for a vector v of random signs, v' H v has the trace of H as its mean (Hutchinson; Bekas, Kokiopoulou and
Saad, 2007). The score is the mean of the diagonal, one weight tensor at a time, all of them from one product H v.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qdsl.sensitivity.losses import Task
from qdsl.sensitivity.wish import Wish

if TYPE_CHECKING:
    from qdsl.train import Executor

Feeds = Mapping[str, NDArray[Any]]
_SALT = {"gradient": 1, "hessian": 2}


@dataclass(frozen=True, slots=True)
class Scored:
    """Sample `index` with its inputs `feeds`, what runs it, what judges it, and the weights that get a score on it."""

    executor: Executor
    task: Task
    feeds: Feeds
    index: int
    weights: Sequence[str]

    def run(self) -> Mapping[str, Tensor]:
        return self.executor.run(self.feeds, self.task.wanted)

    def loss(self, expected: Mapping[str, Tensor]) -> Tensor:
        return self.task.loss(self.run(), expected, self.index)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums are added in one order, however many processors there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gradient(on: Scored, wish: Wish) -> dict[str, tuple[float, ...]]:
    """The L1 norm of the gradient of each weight on the sample, for each trial; NaN and infinity come out as they
    are."""
    executor = on.executor
    still = {name: executor.parameters[name].detach() for name in on.weights}
    expected = _expected(on)
    found: dict[str, list[float]] = {name: [] for name in on.weights}
    try:
        for trial in range(wish.trials):
            for at, (name, value) in enumerate(still.items()):
                length = float(value.double().norm())
                noise = _draw("gradient", wish.seed, on.index, trial, at).standard_normal(value.numel(), np.float32)
                moved = torch.from_numpy(noise).reshape(value.shape).to(value)
                step = wish.epsilon / length if length > 0.0 else 0.0
                executor.parameters[name] = (value + step * moved).requires_grad_()
            slopes = _slopes(on.loss(expected), [executor.parameters[name] for name in on.weights])
            for name, slope in zip(on.weights, slopes, strict=True):
                found[name].append(float(slope.double().abs().sum()))
    finally:
        executor.parameters.update(still)
    return {name: tuple(values) for name, values in found.items()}


def hessian(on: Scored, wish: Wish) -> dict[str, tuple[float, ...]]:
    """The mean of the diagonal of the Hessian of each weight on the sample, as each trial estimates it."""
    expected = _expected(on)
    asked = list(on.executor.differentiable(on.weights).values())
    found: dict[str, list[float]] = {name: [] for name in on.weights}
    try:
        slopes = _slopes(on.loss(expected), asked, create=True)
        for trial in range(wish.trials):
            signs = [
                torch.from_numpy(
                    _draw("hessian", wish.seed, on.index, trial, at).integers(0, 2, each.numel()) * 2.0 - 1.0
                )
                .reshape(each.shape)
                .to(each)
                for at, each in enumerate(asked)
            ]
            along = torch.stack([(slope * sign).sum() for slope, sign in zip(slopes, signs, strict=True)]).sum()
            bends = _slopes(along, asked, retain=True)
            for name, sign, bend in zip(on.weights, signs, bends, strict=True):
                found[name].append(float((sign * bend).double().sum()) / max(1, sign.numel()))
    finally:
        on.executor.differentiable(())
    return {name: tuple(values) for name, values in found.items()}


def _expected(on: Scored) -> dict[str, Tensor]:
    with torch.no_grad():
        return {name: each.detach() for name, each in on.run().items()}


def _slopes(of: Tensor, asked: Sequence[Tensor], *, create: bool = False, retain: bool = False) -> list[Tensor]:
    """The gradients by what is `asked`; 0 by what `of` does not depend on, as where all that is compared of a sample is
    0 or an input itself."""
    if not of.requires_grad:
        return [torch.zeros_like(each) for each in asked]
    found = torch.autograd.grad(of, asked, retain_graph=create or retain, create_graph=create, allow_unused=True)
    return [torch.zeros_like(each) if one is None else one for one, each in zip(found, asked, strict=True)]


def _draw(method: str, *numbers: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([_SALT[method], *numbers])))
