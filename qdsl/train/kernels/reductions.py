"""Reductions over axes, and what picks by value."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qdsl.train.call import Call, Results


def _axes(call: Call) -> tuple[int, ...] | None:
    """The axes to reduce; None where the node then reduces none of them."""
    x, axes = call.tensor(), call.wholes_or_port("axes", 1)
    if axes:
        return tuple(axis % x.dim() for axis in axes)
    return None if call.whole("noop_with_empty_axes", 0) else tuple(range(x.dim()))


def reduction(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Callable[[Call], Tensor]:
    """A kernel that reduces by a function of tensor, axes and whether they stay, as axes of one."""

    def kernel(call: Call) -> Tensor:
        axes, keep = _axes(call), bool(call.whole("keepdims", 1))
        if not axes:  # nothing to reduce: each element by itself
            return function(call.tensor().unsqueeze(-1), (call.tensor().dim(),), False)
        return function(call.tensor(), axes, keep)

    return kernel


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keep)
    return x


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return torch.sum(x, axes, keep, dtype=x.dtype)


reduce_sum = reduction(_sum)
reduce_mean = reduction(torch.mean)
reduce_max, reduce_min = reduction(torch.amax), reduction(torch.amin)
reduce_prod = reduction(_product)
reduce_l1 = reduction(lambda x, axes, keep: _sum(x.abs(), axes, keep))
reduce_l2 = reduction(lambda x, axes, keep: _sum(x * x, axes, keep).sqrt())
reduce_sum_square = reduction(lambda x, axes, keep: _sum(x * x, axes, keep))
reduce_log_sum = reduction(lambda x, axes, keep: _sum(x, axes, keep).log())
reduce_log_sum_exp = reduction(torch.logsumexp)


def _arg(call: Call, *, largest: bool) -> Tensor:
    """The index of the extreme; of equal ones the first, or the last where `select_last_index`."""
    x, axis = call.tensor(), call.whole("axis", 0)
    last = bool(call.whole("select_last_index", 0))
    seen = x.flip(axis) if last else x
    extreme = seen.amax(axis, keepdim=True) if largest else seen.amin(axis, keepdim=True)
    found = (seen == extreme).to(torch.uint8).argmax(axis, keepdim=bool(call.whole("keepdims", 1)))
    return x.shape[axis] - 1 - found if last else found


def arg_max(call: Call) -> Tensor:
    return _arg(call, largest=True)


def arg_min(call: Call) -> Tensor:
    return _arg(call, largest=False)


def top_k(call: Call) -> Results:
    """Of equal values the one with the lower index comes first (TopK-11)."""
    x, axis = call.tensor(), call.whole("axis", -1)
    count = (call.numbers_at(1) or [call.whole("k", 1)])[0]
    order = torch.argsort(x, dim=axis, descending=bool(call.whole("largest", 1)), stable=True)
    kept = order.narrow(axis, 0, count)
    return torch.gather(x, axis, kept), kept


def cumulative_sum(call: Call) -> Tensor:
    x, axis = call.tensor(), (call.numbers_at(1) or [0])[0]
    back = bool(call.whole("reverse", 0))
    turned = x.flip(axis) if back else x
    found = torch.cumsum(turned, axis, dtype=x.dtype)
    found = found - turned if call.whole("exclusive", 0) else found
    return found.flip(axis) if back else found
