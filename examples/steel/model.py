"""A small anchor-free detector in plain torch: a ResNet-18 of half width, a feature pyramid, and a decoupled head.

Trunk: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1, with 32, 64 and 128 channels for 64, 128
and 256. The last stage has 144 rather than 256, so that the weights fit in 7 MB. Neck: Lin et al. 2017, "Feature
Pyramid Networks for Object Detection". Head: one 3x3 convolution each for classes and boxes at every stride, as in
YOLOX (Ge et al. 2021), without its objectness; a box is four distances from the middle of its cell (Tian et al. 2019,
"FCOS"). Strides are 8, 16 and 32.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 4
STRIDES = (8, 16, 32)
STAGES = (32, 64, 128, 144)  # channels of the trunk at strides 4, 8, 16 and 32
NECK = 48  # channels of the pyramid and the head
PRIOR = 0.01  # probability of each class in each cell, before training


class Conv(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU unless `linear`: (N, c_in, H, W) -> (N, c_out, H/s, W/s)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, linear: bool = False) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(c_out),
            nn.Identity() if linear else nn.ReLU(),
        )


class Block(nn.Module):
    """The basic block: two 3x3 convolutions, with the input (or its 1x1 projection) added before the last ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.first = Conv(c_in, c_out, 3, stride)
        self.second = Conv(c_out, c_out, 3, linear=True)
        same = stride == 1 and c_in == c_out
        self.skip = nn.Identity() if same else Conv(c_in, c_out, 1, stride, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.skip(x) + self.second(self.first(x)))


class Trunk(nn.Module):
    """(N, 3, H, W) -> maps at strides 8, 16 and 32, with the channels of `STAGES[1:]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv(3, STAGES[0], 7, 2), nn.MaxPool2d(3, 2, 1))
        befores = (STAGES[0], *STAGES[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(Block(before, channels, 1 if i == 0 else 2), Block(channels, channels, 1))
            for i, (before, channels) in enumerate(zip(befores, STAGES, strict=True))
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = cast(Tensor, self.stem(images)), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found[1:]


class Neck(nn.Module):
    """Top-down: each map, 1x1 to `NECK` channels, plus the coarser one at twice the size, then a 3x3 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(Conv(channels, NECK, 1, linear=True) for channels in STAGES[1:])
        self.smooth = nn.ModuleList(Conv(NECK, NECK, 3) for _ in STRIDES)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        flat = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for level in range(len(flat) - 2, -1, -1):
            flat[level] = flat[level] + functional.interpolate(flat[level + 1], scale_factor=2.0, mode="nearest")
        return [smooth(x) for smooth, x in zip(self.smooth, flat, strict=True)]


class Head(nn.Module):
    """Maps of one stride -> (N, 4 + classes, H, W): logarithms of four distances in strides, then class logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.box = nn.Sequential(Conv(NECK, NECK, 3), nn.Conv2d(NECK, 4, 1))
        self.kind = nn.Sequential(Conv(NECK, NECK, 3), nn.Conv2d(NECK, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.box(x), self.kind(x)), 1)


class Detector(nn.Module):
    """(N, 3, H, W) RGB in 0..1, H and W multiples of 32 -> (N, 4 + classes, A) decoded, or raw maps in training.

    Rows are centre x, centre y, width and height in input pixels, then the probability of each class. A is
    H * W * 21 / 1024 cells: 2100 at 320x320.
    """

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.classes = classes
        self.trunk, self.neck = Trunk(), Neck()
        self.heads = nn.ModuleList(Head(classes) for _ in STRIDES)
        self.apply(init)
        for head in self.heads:
            box, kind = (cast(nn.Conv2d, branch[-1]) for branch in (head.box, head.kind))  # type: ignore[index]
            for last, bias in ((box, math.log(2.0)), (kind, -math.log(1 / PRIOR - 1))):
                nn.init.normal_(last.weight, std=0.01)
                nn.init.constant_(cast(Tensor, last.bias), bias)

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        maps = [head(x) for head, x in zip(self.heads, self.neck(self.trunk(images)), strict=True)]
        if self.training:
            return maps
        rows = flatten(maps)
        points, strides = cells([(int(m.shape[2]), int(m.shape[3])) for m in maps], rows)
        low, high = corners(rows[:, :4], points, strides)
        return torch.cat(((low + high) / 2, high - low, rows[:, 4:].sigmoid()), 1)


def init(module: nn.Module) -> None:
    """He's initial weights."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def flatten(maps: list[Tensor]) -> Tensor:
    """Maps (N, rows, H, W), finest first -> (N, rows, A), row by row."""
    return torch.cat([m.reshape(m.shape[0], m.shape[1], -1) for m in maps], 2)


def cells(sizes: list[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Middles of all cells (2, A), x then y, and their strides (A,), both in pixels.

    `sizes` is (height, width) per stride; type and device are those of `like`.
    """
    points, strides = [], []
    for (high, wide), stride in zip(sizes, STRIDES, strict=True):
        xs, ys = ((torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) * stride for n in (wide, high))
        points.append(torch.stack((xs.repeat(high), ys.repeat_interleave(wide))))
        strides.append(torch.full((high * wide,), float(stride), dtype=like.dtype, device=like.device))
    return torch.cat(points, 1), torch.cat(strides)


def corners(logs: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of distances left, up, right and down (N, 4, A) -> two corners (N, 2, A) in pixels."""
    distances = logs.exp() * strides
    return points - distances[:, :2], points + distances[:, 2:]
