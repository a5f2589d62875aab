"""YOLOv8 (nano by default) in plain torch, written from the published architecture.

Backbone of strided convolutions and C2f blocks, SPPF, a PAN neck, and a decoupled anchor-free head whose box side
predicts, for each of four distances, a distribution over `REG_MAX` bins (DFL). Strides are 8, 16 and 32.

The layers stand in one list called `model`, in the public model's order, so that an exported node carries the public
name: `/model.0/conv/Conv`, `/model.22/cv2.0/cv2.0.2/Conv`, `/model.22/dfl/conv/Conv`.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

REG_MAX = 16
STRIDES = (8, 16, 32)

# (kind, inputs, channels before the width multiplier, repeats before the depth multiplier); -1 is the layer above.
LAYERS: tuple[tuple[str, tuple[int, ...], int, int], ...] = (
    ("conv", (-1,), 64, 1),  # 0: stride 2
    ("conv", (-1,), 128, 1),  # 1: stride 4
    ("c2f+", (-1,), 128, 3),
    ("conv", (-1,), 256, 1),  # 3: stride 8
    ("c2f+", (-1,), 256, 6),
    ("conv", (-1,), 512, 1),  # 5: stride 16
    ("c2f+", (-1,), 512, 6),
    ("conv", (-1,), 1024, 1),  # 7: stride 32
    ("c2f+", (-1,), 1024, 3),
    ("sppf", (-1,), 1024, 1),
    ("up", (-1,), 0, 1),
    ("concat", (-1, 6), 0, 1),
    ("c2f", (-1,), 512, 3),
    ("up", (-1,), 0, 1),
    ("concat", (-1, 4), 0, 1),
    ("c2f", (-1,), 256, 3),  # 15: head input at stride 8
    ("conv", (-1,), 256, 1),
    ("concat", (-1, 12), 0, 1),
    ("c2f", (-1,), 512, 3),  # 18: head input at stride 16
    ("conv", (-1,), 512, 1),
    ("concat", (-1, 9), 0, 1),
    ("c2f", (-1,), 1024, 3),  # 21: head input at stride 32
    ("detect", (15, 18, 21), 0, 1),
)


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, SiLU: (N, c_in, H, W) -> (N, c_out, H/stride, W/stride)."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.bn(self.conv(x))))


class Bottleneck(nn.Module):
    """Two 3x3 convolutions, with the input added where `skip` is set."""

    def __init__(self, channels: int, skip: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 3)
        self.cv2 = Conv(channels, channels, 3)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.cv2(self.cv1(x)))
        return x + y if self.skip else y


class C2f(nn.Module):
    """Split in two, run bottlenecks on the second half, and join every intermediate result with a 1x1 convolution."""

    def __init__(self, c_in: int, c_out: int, repeats: int, skip: bool) -> None:
        super().__init__()
        self.part = c_out // 2
        self.cv1 = Conv(c_in, 2 * self.part)
        self.cv2 = Conv((2 + repeats) * self.part, c_out)
        self.m = nn.ModuleList(Bottleneck(self.part, skip) for _ in range(repeats))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(torch.split(self.cv1(x), [self.part, self.part], 1))
        for block in self.m:
            parts.append(block(parts[-1]))
        return cast(Tensor, self.cv2(torch.cat(parts, 1)))


class SPPF(nn.Module):
    """Three chained 5x5 max-pools, joined: the receptive fields 5, 9 and 13 for the price of one kernel size."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.cv1 = Conv(c_in, c_in // 2)
        self.cv2 = Conv(c_in // 2 * 4, c_out)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        return cast(Tensor, self.cv2(torch.cat(parts, 1)))


class Concat(nn.Module):
    """Join feature maps of one size along the channels."""

    def forward(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1)


class DFL(nn.Module):
    """Expected value of each side's distribution: (N, 4 * REG_MAX, A) logits -> (N, 4, A) distances in strides."""

    def __init__(self) -> None:
        super().__init__()
        # A 1x1 convolution with the fixed weights 0..15 is the dot product that takes the expectation.
        self.conv = nn.Conv2d(REG_MAX, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(REG_MAX, dtype=torch.float32).view(1, REG_MAX, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, anchors = x.shape
        bins = x.view(n, 4, REG_MAX, anchors).transpose(2, 1).softmax(1)
        return cast(Tensor, self.conv(bins)).view(n, 4, anchors)


class Detect(nn.Module):
    """The head. In training: raw maps, one (N, 4 * REG_MAX + nc, H, W) per stride. Else the decoded (N, 4 + nc, A).

    Decoded rows are centre x, centre y, width and height in pixels of the network input, then `nc` probabilities.
    `box_channels` narrows the box branch below the architecture's minimum of 4 * REG_MAX, for tiny fixtures only.
    """

    def __init__(self, nc: int, channels: tuple[int, ...], box_channels: int | None = None) -> None:
        super().__init__()
        self.nc = nc
        c_box = box_channels or max(16, channels[0] // 4, REG_MAX * 4)
        c_cls = max(channels[0], min(nc, 100))
        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(c, c_box, 3), Conv(c_box, c_box, 3), nn.Conv2d(c_box, 4 * REG_MAX, 1)) for c in channels
        )
        self.cv3 = nn.ModuleList(
            nn.Sequential(Conv(c, c_cls, 3), Conv(c_cls, c_cls, 3), nn.Conv2d(c_cls, nc, 1)) for c in channels
        )
        self.dfl = DFL()
        self.set_prior()

    def set_prior(self) -> None:
        """Biases of an untrained head: boxes one stride wide, and about five objects per 640-pixel image."""
        for box, cls, stride in zip(self.cv2, self.cv3, STRIDES, strict=True):
            last_box, last_cls = cast(nn.Sequential, box)[-1], cast(nn.Sequential, cls)[-1]
            cast(Tensor, last_box.bias).data.fill_(1.0)
            cast(Tensor, last_cls.bias).data.fill_(math.log(5 / self.nc / (640 / stride) ** 2))

    def forward(self, features: list[Tensor]) -> Tensor | list[Tensor]:
        maps = [torch.cat((box(x), cls(x)), 1) for x, box, cls in zip(features, self.cv2, self.cv3, strict=True)]
        if self.training:
            return maps
        rows = 4 * REG_MAX + self.nc
        joined = torch.cat([m.view(m.shape[0], rows, -1) for m in maps], 2)
        box, cls = torch.split(joined, [4 * REG_MAX, self.nc], 1)
        sizes = [(int(m.shape[2]), int(m.shape[3])) for m in maps]
        points, strides = anchor_points(sizes, joined)
        return torch.cat((decode_boxes(self.dfl(box), points) * strides, cls.sigmoid()), 1)


def anchor_points(sizes: list[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Cell centres (1, 2, A) in units of their own stride, and those strides (1, A) in pixels.

    `sizes` is (height, width) per level; type and device are those of `like`.
    """
    points, strides = [], []
    for (h, w), stride in zip(sizes, STRIDES, strict=True):
        ys = torch.arange(h, dtype=like.dtype, device=like.device) + 0.5
        xs = torch.arange(w, dtype=like.dtype, device=like.device) + 0.5
        points.append(torch.stack((xs.repeat(h), ys.repeat_interleave(w))))
        strides.append(torch.full((1, h * w), float(stride), dtype=like.dtype, device=like.device))
    return torch.cat(points, 1).unsqueeze(0), torch.cat(strides, 1)


def decode_boxes(distances: Tensor, points: Tensor) -> Tensor:
    """Distances (N, 4, A) left, up, right and down from `points` (1, 2, A) -> (N, 4, A) centre x, y, width, height."""
    left_top, right_bottom = distances.chunk(2, 1)
    low, high = points - left_top, points + right_bottom
    return torch.cat(((low + high) / 2, high - low), 1)


class YOLOv8(nn.Module):
    """(N, 3, H, W) RGB in 0..1, H and W multiples of 32 -> (N, 4 + nc, A) decoded, or raw maps in training.

    A is H * W * 21 / 1024 cells: 8400 at 640x640.
    """

    def __init__(
        self,
        nc: int = 1,
        depth: float = 0.33,
        width: float = 0.25,
        max_channels: int = 1024,
        box_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.nc = nc
        self.model = nn.ModuleList()
        channels: list[int] = []
        last = 3
        for kind, inputs, base, base_repeats in LAYERS:
            c_in = [last if i == -1 else channels[i] for i in inputs]
            c_out = math.ceil(min(base, max_channels) * width / 8) * 8
            repeats = max(round(base_repeats * depth), 1)
            layer: nn.Module
            if kind == "conv":
                layer = Conv(c_in[0], c_out, 3, 2)
            elif kind in ("c2f", "c2f+"):
                layer = C2f(c_in[0], c_out, repeats, skip=kind == "c2f+")
            elif kind == "sppf":
                layer = SPPF(c_in[0], c_out)
            elif kind == "up":
                layer, c_out = nn.Upsample(scale_factor=2.0, mode="nearest"), c_in[0]
            elif kind == "concat":
                layer, c_out = Concat(), sum(c_in)
            else:
                layer = Detect(nc, tuple(c_in), box_channels)
            self.model.append(layer)
            channels.append(c_out)
            last = c_out

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        outputs: list[Tensor] = []
        x: Tensor = images
        for (_, inputs, _, _), layer in zip(LAYERS, self.model, strict=True):
            sources = [x if i == -1 else outputs[i] for i in inputs]
            x = layer(sources if isinstance(layer, (Concat, Detect)) else sources[0])
            outputs.append(x)
        return x
