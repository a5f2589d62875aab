"""Constant tensors as integers: per tensor, per channel, per block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError
from qdsl.quant.guard import exact, guard_symmetric, guard_unsigned, guarded_limits
from qdsl.quant.least_error import by_least_error, least_error_scale
from qdsl.quant.linear import FloatArray, IntArray, QParams, quantize
from qdsl.quant.scales import spread
from qdsl.spec import UNGUARDED, Granularity, Guard, Scheme


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """The integers of a weight, unpacked, in the shape of the weight; `params` bring them back."""

    values: IntArray
    params: QParams


def weight_parameters(
    weight: NDArray[Any], scheme: Scheme, axis: int | None, name: str = "", guard: Guard = UNGUARDED
) -> QParams:
    """Scale and zero point of `weight` from its own minimum and maximum; under 8 bits one scale for all of it
    is that of least error, see `qdsl.quant.least_error`.

    `axis`: the channel axis (per channel) or the axis that is cut into blocks (per block); None per tensor.
    A channel of zeros takes the largest scale of the others, so that a bias stored with it stays as fine as theirs.
    Channels whose products could saturate get a wider scale, see `qdsl.quant.guard`; the others are as without.
    Raises QdslError (weight-not-finite) with the tensor's name and the index of the first such value.
    """
    _refuse_not_finite(weight, name)
    params = _plain_parameters(weight, scheme, axis, guard)
    if not guard.pairs or weight.size == 0:
        return params
    stored = quantize_weight(weight, scheme, params, guard).values
    safe = exact(stored, guard, params.axis)
    if safe.all():
        return params
    if not scheme.dtype.signed:
        return guard_unsigned(weight, scheme, params.axis, guard)
    if scheme.symmetric:
        return guard_symmetric(weight, params, guard)
    halved = _plain_parameters(weight, replace(scheme, reduce_range=True), axis, guard)
    scale, zero = (
        np.where(safe.reshape(np.shape(old)), old, new)
        for old, new in ((params.scale, halved.scale), (params.zero_point, halved.zero_point))
    )
    return QParams(np.asarray(scale, np.float32), zero, params.dtype, params.axis)


def _plain_parameters(weight: NDArray[Any], scheme: Scheme, axis: int | None, guard: Guard) -> QParams:
    ends = guarded_limits(scheme, guard)
    low, high, place, block = _ends(weight, scheme, axis)
    params = QParams(*spread(low, high, scheme, ends), scheme.dtype, place, block)
    if by_least_error(scheme) and weight.size:
        params = least_error_scale(weight, params, scheme, ends)
    empty = (low == 0) & (high == 0)
    if place is None or not empty.any() or empty.all():
        return params
    filled = np.where(empty, params.scale[~empty].max(), params.scale)
    return QParams(filled, params.zero_point, params.dtype, place, block)


def _ends(
    weight: NDArray[Any], scheme: Scheme, axis: int | None
) -> tuple[FloatArray, FloatArray, int | None, int | None]:
    """Minimum and maximum per scale, the axis along which scales follow each other, and the size of a block."""
    if scheme.granularity is Granularity.PER_TENSOR or axis is None:
        return np.asarray(weight.min(initial=0.0)), np.asarray(weight.max(initial=0.0)), None, None
    axis %= weight.ndim
    if scheme.granularity is Granularity.PER_BLOCK:
        if not scheme.block:
            raise ValueError(f"`{scheme}` does not say how many elements a block has")
        return *_block_ends(weight, axis, scheme.block), axis, scheme.block
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return weight.min(axis=others, initial=0.0), weight.max(axis=others, initial=0.0), axis, None


def quantize_weight(weight: NDArray[Any], scheme: Scheme, params: QParams, guard: Guard = UNGUARDED) -> QuantizedWeight:
    """`weight` as integers inside `limits(scheme)`, less what `guard` leaves out."""
    return QuantizedWeight(quantize(weight, params, guarded_limits(scheme, guard)), params)


def _block_ends(weight: NDArray[Any], axis: int, block: int) -> tuple[FloatArray, FloatArray]:
    """Minimum and maximum of each block along `axis`; the last block may be shorter."""
    starts = np.arange(0, weight.shape[axis], block)
    low = np.minimum.reduceat(weight, starts, axis=axis)
    high = np.maximum.reduceat(weight, starts, axis=axis)
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def _refuse_not_finite(weight: NDArray[Any], name: str) -> None:
    finite = np.isfinite(weight)
    if finite.all():
        return
    first = np.unravel_index(int(np.argmin(finite)), weight.shape)
    place = ", ".join(str(int(i)) for i in first)
    raise QdslError(
        [
            Diagnostic(
                "weight-not-finite",
                f"weight `{name}` holds {weight[first]} at [{place}]",
                label=f"{int((~finite).sum())} of {weight.size} values are not finite",
                help=("export the model again from a checkpoint without NaN and infinity",),
            )
        ]
    )
