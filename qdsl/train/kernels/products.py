"""Matrix products, and products of integers: those in float64, which holds their sums exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from qdsl.train.call import Call
from qdsl.train.kernels.windows import convolved


def matmul(call: Call) -> Tensor:
    return torch.matmul(call.tensor(0), call.tensor(1))


def gemm(call: Call) -> Tensor:
    """alpha * A' * B' + beta * C (Gemm-13)."""
    one, other, bias = call.tensor(0), call.tensor(1), call.optional(2)
    one = one.transpose(0, 1) if call.whole("transA", 0) else one
    other = other.transpose(0, 1) if call.whole("transB", 0) else other
    alpha, beta = call.real("alpha", 1.0), call.real("beta", 1.0)
    product = torch.mm(one, other) if alpha == 1.0 else torch.mm(one, other) * alpha
    if bias is None:
        return product
    return product + (bias if beta == 1.0 else bias * beta)


def einsum(call: Call) -> Tensor:
    return torch.einsum(call.text("equation", ""), *call.present())


def matmul_integer(call: Call) -> Tensor:
    """Sums as floats, so that gradients go on. A zero point of the first matrix may be one for each row."""
    one, other = _centred(call, 0, 2, -1), _centred(call, 1, 3, None)
    return torch.matmul(one, other)


def conv_integer(call: Call) -> Tensor:
    """Sums as floats. What pads is the zero point."""
    return convolved(call, _centred(call, 0, 2, None), _centred(call, 1, 3, 0), None)


def _centred(call: Call, port: int, zero_port: int, axis: int | None) -> Tensor:
    """Integers less their zero point: one, or as many as the tensor is long on the axis given (-1: the rows)."""
    x, zero = call.tensor(port).to(torch.float64), call.optional(zero_port)
    if zero is None:
        return x
    if zero.numel() > 1 and axis == 0:
        zero = zero.reshape(-1, *[1] * (x.dim() - 1))
    elif zero.numel() > 1 and axis == -1 and zero.dim() == 1:
        zero = zero.unsqueeze(-1)
    return x - zero.to(torch.float64)
