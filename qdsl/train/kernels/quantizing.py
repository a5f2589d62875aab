"""QuantizeLinear and DequantizeLinear with a straight-through estimator.

Between the two, integers stand in tensors of floats (carriers), so that a gradient finds its way through what moves
them. Its unit there is that of the values where a pair has one scale (`Call.straight`): what is inside the clipping
range gets the gradient as it is, what is outside none. Otherwise it is that of the integers.

Learned scales are those of LSQ (Esser et al. 2020, Learned Step Size Quantization, eq. 3): with v / s inside the range
the gradient of a value by its scale is round(v / s) - v / s, outside the end of the range; it is scaled by
1 / sqrt(N Q_P), N the elements that share the scale (of activations, those of one sample), Q_P the upper end.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from qdsl.graph.dtypes import bits_by_name
from qdsl.train.call import Call, Results


class _Quantize(torch.autograd.Function):
    """round(clip(x / scale)) + zero, as floats. `low` and `high` are the ends of the type."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int, straight: bool) -> Tensor:
        ratio = x / scale
        clipped = torch.maximum(torch.minimum(ratio, high - zero), low - zero)
        inside = clipped == ratio
        ctx.straight = straight
        ctx.save_for_backward(inside, scale, ratio if ctx.needs_input_grad[1] else None)
        return clipped.round_().add_(zero)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inside, scale, ratio = ctx.saved_tensors
        passed = torch.where(inside, grads[0], 0.0)
        if not ctx.straight:
            passed = passed / scale
        by_scale = None if ratio is None else (-passed * ratio).sum_to_size(scale.shape)
        return passed, by_scale, None, None, None, None


class _Dequantize(torch.autograd.Function):
    """(carrier - zero) * scale."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, scale: Tensor, zero: Tensor, straight: bool) -> Tensor:
        steps = carrier - zero
        ctx.straight = straight
        ctx.save_for_backward(scale, steps if ctx.needs_input_grad[1] else None)
        return steps * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale, steps = ctx.saved_tensors
        by_scale = None if steps is None else (grads[0] * steps).sum_to_size(scale.shape)
        return grads[0] if ctx.straight else grads[0] * scale, by_scale, None, None


class _Scaled(torch.autograd.Function):
    """The same value; its gradient times a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] * ctx.factor, None


def ends_of(name: str) -> tuple[int, int]:
    """The smallest and largest integer of a type by its name."""
    bits = bits_by_name(name) or 8
    return (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def quantize_linear(call: Call) -> Tensor:
    x, low_high = call.tensor(0), ends_of(call.carried)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    scale, zero = _scale_and_zero(call, x, low_high[1])
    made: Tensor = _Quantize.apply(x, scale, zero, *low_high, call.straight)  # type: ignore[no-untyped-call]
    return made


def dequantize_linear(call: Call) -> Tensor:
    """Values in the type of the scale."""
    stored, kind = call.tensor(0), call.tensor(1).dtype
    carrier = stored if stored.is_floating_point() else stored.to(torch.promote_types(kind, torch.float32))
    scale, zero = _scale_and_zero(call, carrier, ends_of(call.carried)[1])
    made: Tensor = _Dequantize.apply(carrier, scale, zero, call.straight)  # type: ignore[no-untyped-call]
    return made.to(kind)


def _scale_and_zero(call: Call, x: Tensor, highest: int) -> tuple[Tensor, Tensor]:
    """Both in the type of `x`, shaped to broadcast against it."""
    scale, zero = call.tensor(1), call.optional(2)
    if call.learned:
        scale = _learned(call, scale, x, highest)
    else:
        scale = scale.detach()
    scale = scale.to(x.dtype)
    zero = torch.zeros_like(scale) if zero is None else zero.detach().to(x.dtype)
    return _spread(call, scale, x), _spread(call, zero, x)


def _learned(call: Call, scale: Tensor, x: Tensor, highest: int) -> Tensor:
    samples = 1 if call.stored or x.dim() == 0 else x.shape[0]
    shared = max(x.numel() // max(samples, 1) // max(scale.numel(), 1), 1)
    made: Tensor = _Scaled.apply(scale, 1.0 / sqrt(shared * max(highest, 1)))  # type: ignore[no-untyped-call]
    return made


def _spread(call: Call, values: Tensor, x: Tensor) -> Tensor:
    """Per tensor, per channel along `axis`, or by blocks along it (QuantizeLinear-21)."""
    if values.numel() == 1 and values.dim() < 2:
        return values.reshape(())
    axis = call.whole("axis", 1) % x.dim()
    if values.dim() == 1 and x.dim() != 1:
        return values.reshape([-1 if at == axis else 1 for at in range(x.dim())])
    block = call.whole("block_size", 0)
    return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis]) if block else values


def dynamic_quantize_linear(call: Call) -> Results:
    """uint8 over the range that the tensor has, 0 included (DynamicQuantizeLinear-11); no gradient by the scale, and by
    every value 1: what the rounded zero point cuts off at the ends is half a step at most."""
    x = call.tensor()
    low, high = x.detach().amin().clamp(max=0.0), x.detach().amax().clamp(min=0.0)
    scale = (high - low) / 255.0
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (-low / scale).round().clamp(0, 255)
    made: Tensor = _Quantize.apply(x, scale, zero, -1, 256, False)  # type: ignore[no-untyped-call]
    return made + (made.clamp(0, 255) - made).detach(), scale, zero.to(torch.uint8)
