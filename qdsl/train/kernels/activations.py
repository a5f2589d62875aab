"""Activation functions, and Clip."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from qdsl.train.call import Call
from qdsl.train.kernels.arithmetic import unary

relu, sigmoid, tanh = unary(torch.relu), unary(torch.sigmoid), unary(torch.tanh)
softsign, mish = unary(functional.softsign), unary(functional.mish)


def softplus(call: Call) -> Tensor:
    """log(1 + exp(x)); torch's own is linear from 20 on, which is the same in float32."""
    return functional.softplus(call.tensor(), threshold=40.0)


def leaky_relu(call: Call) -> Tensor:
    return functional.leaky_relu(call.tensor(), call.real("alpha", 0.01))


def elu(call: Call) -> Tensor:
    return functional.elu(call.tensor(), call.real("alpha", 1.0))


def celu(call: Call) -> Tensor:
    return functional.celu(call.tensor(), call.real("alpha", 1.0))


def selu(call: Call) -> Tensor:
    x, alpha = call.tensor(), call.real("alpha", 1.67326319217681884765625)
    return call.real("gamma", 1.05070102214813232421875) * torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def thresholded_relu(call: Call) -> Tensor:
    x = call.tensor()
    return torch.where(x > call.real("alpha", 1.0), x, torch.zeros_like(x))


def prelu(call: Call) -> Tensor:
    """A slope for each element: it broadcasts from the last axis on, as everything in ONNX."""
    x, slope = call.tensor(0), call.tensor(1)
    return torch.where(x < 0, x * slope, x)


def hard_sigmoid(call: Call) -> Tensor:
    return (call.tensor() * call.real("alpha", 0.2) + call.real("beta", 0.5)).clamp(0.0, 1.0)


def hard_swish(call: Call) -> Tensor:
    """x * max(0, min(1, x / 6 + 1 / 2)) (HardSwish-14)."""
    x = call.tensor()
    return x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)


def swish(call: Call) -> Tensor:
    """x * sigmoid(alpha * x) (Swish-24; QuickGelu of com.microsoft, whose alpha is 1.702)."""
    x = call.tensor()
    return x * torch.sigmoid(x * call.real("alpha", 1.0 if call.operation.op == "Swish" else 1.702))


def gelu(call: Call) -> Tensor:
    return functional.gelu(call.tensor(), approximate=call.text("approximate", "none"))


def fast_gelu(call: Call) -> Tensor:
    """FastGelu of com.microsoft: with tanh, behind a bias where there is one."""
    x, bias = call.tensor(), call.optional(1)
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


def bias_gelu(call: Call) -> Tensor:
    return functional.gelu(call.tensor(0) + call.tensor(1))


def clip(call: Call) -> Tensor:
    """Bounds as inputs, before opset 11 as attributes. Where they are crossed, the upper one holds. The gradient is 1
    inside the bounds and on them, 0 outside."""
    x = call.tensor()
    if call.opset < 11:
        return x.clamp(call.attribute("min"), call.attribute("max")) if call.operation.attributes else x
    low, high = (None if end is None else end.reshape(()).to(x) for end in (call.optional(1), call.optional(2)))
    return x if low is None and high is None else torch.clamp(x, low, high)
