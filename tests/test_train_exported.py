"""Small networks of the kinds that are quantized, exported by torch: the executor gives their answers and gradients."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from onnx import ModelProto, load  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from qdsl.train import Executor, lacking  # noqa: E402

pytestmark = pytest.mark.slow
SIZE = 32


class Vision(nn.Module):
    """A vision transformer: patches, a class token, attention, LayerNorm, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 24, 8, 8)
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 24)), nn.Parameter(torch.randn(1, 17, 24))
        self.before, self.after, self.last = nn.LayerNorm(24), nn.LayerNorm(24), nn.LayerNorm(24)
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)
        self.wide, self.narrow, self.head = nn.Linear(24, 48), nn.Linear(48, 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        q, k, v = self.qkv(self.before(x)).reshape(x.shape[0], 17, 3, 4, 6).permute(2, 0, 3, 1, 4)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.narrow(functional.gelu(self.wide(self.after(x))))
        return self.head(self.last(x)[:, 0])


class Mobile(nn.Module):
    """An inverted residual with squeeze and excitation, as in MobileNetV3 (hard) and EfficientNet (SiLU)."""

    def __init__(self, hard: bool) -> None:
        super().__init__()
        act: Any = nn.Hardswish if hard else nn.SiLU
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), act())
        self.expand = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), act())
        self.depth = nn.Sequential(nn.Conv2d(24, 24, 5, 1, 2, groups=24, bias=False), nn.BatchNorm2d(24), act())
        gate: Any = nn.Hardsigmoid if hard else nn.Sigmoid
        squeeze: Any = nn.ReLU if hard else nn.SiLU
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 6, 1), squeeze(), nn.Conv2d(6, 24, 1), gate())
        self.project = nn.Sequential(nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.depth(self.expand(x))
        x = x + self.project(y * self.gate(y))
        return self.head(functional.relu6(x).mean((2, 3)))


class Dense(nn.Module):
    """A ResNet's stem and dilated block, upsampled both ways to a map of the input's size, as in FCN."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 2, dilation=2, bias=False), nn.BatchNorm2d(8))
        self.other = nn.Conv2d(8, 8, 1)
        self.up, self.score = nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        size, x = x.shape[-2:], self.stem(x)
        x = functional.relu(self.one(x) + self.other(x))
        x = functional.leaky_relu(self.up(x), 0.1)
        x = functional.pixel_shuffle(torch.cat([x, x.roll(1, 3)], 1), 2).repeat(1, 2, 1, 1)
        return functional.interpolate(self.score(x), size=size, mode="bilinear", align_corners=False)


NETS = {"vision": Vision, "mobile": lambda: Mobile(True), "efficient": lambda: Mobile(False), "dense": Dense}


def exported(net: nn.Module, x: Tensor) -> ModelProto:
    held = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(net, (x,), dynamo=True, input_names=["x"], output_names=["y"], opset_version=20)
        assert program is not None
        program.save(held)
    held.seek(0)
    return load(held)


@pytest.mark.parametrize("name", NETS)
def test_answers_and_gradients_of_an_exported_network(name: str) -> None:
    torch.manual_seed(0)
    net, x = NETS[name](), torch.randn(2, 3, SIZE, SIZE)
    net(x)  # statistics of BatchNorm that are not those of nothing
    net.eval()
    with torch.no_grad():
        for value in net.parameters():  # the exporter makes one constant of equal ones
            value += 0.01 * torch.randn_like(value)
    model = exported(net, x)
    assert lacking(model) == ()
    executor = Executor(model)
    named = {key: value for key, value in net.named_parameters() if key in executor.parameters}
    assert len(named) >= 4
    learned = executor.differentiable(named)
    here, there = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, theirs = executor.run({"x": here})["y"], net(there)
    assert_close(ours, theirs)
    weight = torch.randn_like(theirs)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    assert_close(here.grad, there.grad)
    compared = 0
    for key, value in named.items():
        same = torch.equal(learned[key].detach(), value.detach())  # what BatchNorm went into is another weight
        if same and learned[key].grad is not None:
            assert_close(learned[key].grad, value.grad)
            compared += 1
    assert compared >= 4


def assert_close(ours: Tensor | None, theirs: Tensor | None) -> None:
    assert ours is not None and theirs is not None
    apart = (ours.detach() - theirs.detach()).abs().max().item()
    assert apart <= 1e-4 * theirs.detach().abs().max().item()
    assert np.isfinite(apart)
