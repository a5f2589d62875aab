"""MobileNetV1 and MobileNetV2 in plain torch, written from the papers.

V1: Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", table 1.
V2: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2.

Both take (N, 3, H, W) RGB and give (N, classes) logits; H and W are multiples of 32. The output of a network is logits:
softmax changes no decision, and a device need not compute it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

# Channels before the width multiplier, stride; each is a depthwise 3x3 and a pointwise 1x1 convolution.
V1_LAYERS: tuple[tuple[int, int], ...] = (
    (64, 1),
    (128, 2),  # stride 4
    (128, 1),
    (256, 2),  # stride 8
    (256, 1),
    (512, 2),  # stride 16
    *((512, 1),) * 5,
    (1024, 2),  # stride 32
    (1024, 1),
)

# Expansion, channels before the width multiplier, repeats, stride of the first: the paper's t, c, n, s.
V2_LAYERS: tuple[tuple[int, int, int, int], ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),  # stride 4
    (6, 32, 3, 2),  # stride 8
    (6, 64, 4, 2),  # stride 16
    (6, 96, 3, 1),
    (6, 160, 3, 2),  # stride 32
    (6, 320, 1, 1),
)
V2_LAST = 1280  # channels of the last convolution, which no multiplier below 1 narrows


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, to the nearest multiple of 8, at least 8 and no more than a tenth below."""
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


class Conv(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU6 unless `linear`: (N, c_in, H, W) -> (N, c_out, H/s, W/s)."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(c_out),
            nn.Identity() if linear else nn.ReLU6(),
        )


class Separable(nn.Sequential):
    """V1's block: depthwise 3x3, then pointwise 1x1, ReLU6 after each."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(Conv(c_in, c_in, 3, stride, groups=c_in), Conv(c_in, c_out))


class InvertedResidual(nn.Module):
    """V2's block: expand, depthwise 3x3, project without activation; the input is added where shapes agree."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = c_in * expansion
        expand = [] if expansion == 1 else [Conv(c_in, inner)]
        self.conv = nn.Sequential(*expand, Conv(inner, inner, 3, stride, groups=inner), Conv(inner, c_out, linear=True))
        self.skip = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.conv(x))
        return x + y if self.skip else y


class Classifier(nn.Module):
    """`features`, the mean over all places, and one linear layer: (N, 3, H, W) -> (N, classes) logits."""

    def __init__(self, features: nn.Sequential, channels: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        self.apply(init)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.classifier(torch.flatten(self.pool(self.features(images)), 1)))


def init(module: nn.Module) -> None:
    """He's initial weights, and a small linear layer, so that both classes start alike."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def mobilenet_v1(classes: int = 2, width: float = 0.25) -> Classifier:
    """Width 1 with 1000 classes has 4 231 976 parameters, width 0.25 has 470 072."""
    last = scaled(32, width)
    layers: list[nn.Module] = [Conv(3, last, 3, 2)]
    for channels, stride in V1_LAYERS:
        layers.append(Separable(last, scaled(channels, width), stride))
        last = scaled(channels, width)
    return Classifier(nn.Sequential(*layers), last, classes)


def mobilenet_v2(classes: int = 2, width: float = 0.5) -> Classifier:
    """Width 1 with 1000 classes has 3 504 872 parameters, width 0.5 has 1 968 680."""
    last = scaled(32, width)
    layers: list[nn.Module] = [Conv(3, last, 3, 2)]
    for expansion, channels, repeats, stride in V2_LAYERS:
        for repeat in range(repeats):
            c_out = scaled(channels, width)
            layers.append(InvertedResidual(last, c_out, stride if repeat == 0 else 1, expansion))
            last = c_out
    top = max(V2_LAST, scaled(V2_LAST, width))
    layers.append(Conv(last, top))
    return Classifier(nn.Sequential(*layers), top, classes)


NETWORKS: dict[str, Callable[[], Classifier]] = {"mobilenet_v1_025": mobilenet_v1, "mobilenet_v2_050": mobilenet_v2}
