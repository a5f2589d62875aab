"""Elementwise arithmetic and comparison; broadcasting is the same in ONNX and torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from qdsl.train.call import Call


def unary(function: Callable[[Tensor], Tensor]) -> Callable[[Call], Tensor]:
    """A kernel of one tensor without attributes."""
    return lambda call: function(call.tensor())


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], Tensor]:
    """A kernel of two tensors without attributes."""
    return lambda call: function(call.tensor(0), call.tensor(1))


def variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], Tensor]:
    """A kernel that joins any number of tensors, from the left."""
    return lambda call: reduce(function, call.present())


def div(call: Call) -> Tensor:
    """Integers are divided towards zero, as in C."""
    one, other = call.tensor(0), call.tensor(1)
    return one / other if one.is_floating_point() else torch.div(one, other, rounding_mode="trunc")


def mod(call: Call) -> Tensor:
    """With `fmod` the sign is that of the dividend, otherwise that of the divisor."""
    one, other = call.tensor(0), call.tensor(1)
    return torch.fmod(one, other) if call.whole("fmod", 0) else torch.remainder(one, other)


def power(call: Call) -> Tensor:
    """The type is that of the base."""
    base, exponent = call.tensor(0), call.tensor(1)
    return torch.pow(base, exponent).to(base.dtype)


def mean(call: Call) -> Tensor:
    tensors = call.present()
    return reduce(torch.add, tensors) / len(tensors)


def is_inf(call: Call) -> Tensor:
    found, x = torch.isinf(call.tensor()), call.tensor()
    found = found if call.whole("detect_negative", 1) else found & (x > 0)
    return found if call.whole("detect_positive", 1) else found & (x < 0)


def where(call: Call) -> Tensor:
    return torch.where(call.tensor(0), call.tensor(1), call.tensor(2))


absolute, negative, exponential = unary(torch.abs), unary(torch.neg), unary(torch.exp)
logarithm, root, reciprocal = unary(torch.log), unary(torch.sqrt), unary(torch.reciprocal)
floor, ceil, rounded, sign = unary(torch.floor), unary(torch.ceil), unary(torch.round), unary(torch.sign)
sine, cosine, tangent, arctangent = unary(torch.sin), unary(torch.cos), unary(torch.tan), unary(torch.atan)
erf, is_nan, negation = unary(torch.erf), unary(torch.isnan), unary(torch.logical_not)
add, subtract, multiply = binary(torch.add), binary(torch.sub), binary(torch.mul)
equal, less, greater = binary(torch.eq), binary(torch.lt), binary(torch.gt)
less_or_equal, greater_or_equal = binary(torch.le), binary(torch.ge)
both, either, one_of = binary(torch.logical_and), binary(torch.logical_or), binary(torch.logical_xor)
total, largest, smallest = variadic(torch.add), variadic(torch.maximum), variadic(torch.minimum)
