"""Normalisation, and Softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from qdsl.train.call import Call


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (x.dim() - 2))


def batch_normalization(call: Call) -> Tensor:
    """With the statistics that the node reads, as in inference."""
    x, scale, bias, mean, variance = (call.tensor(port) for port in range(5))
    factor = scale / torch.sqrt(variance + call.real("epsilon", 1e-5))
    return x * _per_channel(factor, x) + _per_channel(bias - mean * factor, x)


def instance_normalization(call: Call) -> Tensor:
    x, scale, bias = (call.tensor(port) for port in range(3))
    normal = _normal(x, tuple(range(2, x.dim())), call.real("epsilon", 1e-5))
    return normal * _per_channel(scale, x) + _per_channel(bias, x)


def group_normalization(call: Call) -> Tensor:
    """Scale and bias per channel; in opset 18 per group."""
    x, scale, bias = (call.tensor(port) for port in range(3))
    groups, channels = call.whole("num_groups", 1), x.shape[1]
    grouped = x.reshape(x.shape[0], groups, -1)
    normal = _normal(grouped, (2,), call.real("epsilon", 1e-5)).reshape(x.shape)
    scale, bias = (one.repeat_interleave(channels // one.numel()) for one in (scale, bias))
    return normal * _per_channel(scale, x) + _per_channel(bias, x)


def layer_normalization(call: Call) -> Tensor:
    """Over the axes from `axis` on."""
    x, scale, bias = call.tensor(0), call.tensor(1), call.optional(2)
    axis = call.whole("axis", -1) % x.dim()
    normal = _normal(x, tuple(range(axis, x.dim())), call.real("epsilon", 1e-5)) * scale
    return normal if bias is None else normal + bias


def rms_normalization(call: Call) -> Tensor:
    x, scale = call.tensor(0), call.tensor(1)
    axes = tuple(range(call.whole("axis", -1) % x.dim(), x.dim()))
    mean = (x * x).mean(axes, keepdim=True)
    return x * torch.rsqrt(mean + call.real("epsilon", 1e-5)) * scale


def mean_variance_normalization(call: Call) -> Tensor:
    axes = call.wholes("axes")
    return _normal(call.tensor(), (0, 2, 3) if axes is None else tuple(axes), 1e-9)


def _normal(x: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    variance = (centred * centred).mean(axes, keepdim=True)
    return centred * torch.rsqrt(variance + epsilon)


def lp_normalization(call: Call) -> Tensor:
    x, axis, order = call.tensor(), call.whole("axis", -1), call.whole("p", 2)
    size = x.abs().sum(axis, keepdim=True) if order == 1 else (x * x).sum(axis, keepdim=True).sqrt()
    return torch.where(size == 0, torch.zeros_like(x), x / size)


def lrn(call: Call) -> Tensor:
    """Across channels (LRN-13): the sum of squares of `size` channels around each."""
    x, size = call.tensor(), call.whole("size", 1)
    before = (size - 1) // 2
    around = functional.pad((x * x).movedim(1, -1), [before, size - 1 - before]).unfold(-1, size, 1).sum(-1)
    factor = call.real("bias", 1.0) + call.real("alpha", 1e-4) / size * around.movedim(-1, 1)
    return x / factor.pow(call.real("beta", 0.75))


def softmax(call: Call) -> Tensor:
    """Along one axis; before opset 13 over all axes from `axis` on, as if they were one."""
    return _over_rows(call, logarithmic=False)


def log_softmax(call: Call) -> Tensor:
    return _over_rows(call, logarithmic=True)


def _over_rows(call: Call, *, logarithmic: bool) -> Tensor:
    x, function = call.tensor(), functional.log_softmax if logarithmic else functional.softmax
    if call.opset >= 13:
        return function(x, call.whole("axis", -1))
    axis = call.whole("axis", 1)
    rows = x.flatten(axis + x.dim() if axis < 0 else axis) if x.dim() else x.reshape(1)
    return function(rows, -1).reshape(x.shape)
