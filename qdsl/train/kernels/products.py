"""Matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from qdsl.train.call import Call


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
