"""Scales under which the products of a weight are added exactly on CPUs that add them two by two in 16 bits.

x86 without VNNI multiplies unsigned by signed bytes with `vpmaddubsw`: neighbouring products are added in pairs, and a
pair that passes int16 saturates (Intel SDM, PMADDUBSW). With weights w1, w2 beside unsigned activations of 0..255 no
pair does while the positive ones of the two add up to 128 at most, and the negative ones to -128 at least
(255 x 128 < 2^15). With unsigned weights beside signed activations of -128..127 the two may add up to 256.

A weight that could pass that gets the least wider scale with which it cannot: fewer steps for its channel, the same
kernel, the same answer on every CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.quant.linear import FloatArray, QParams, storage_type
from qdsl.quant.scales import SMALLEST_SCALE, limits
from qdsl.spec import Guard, Scheme

SIGNED_PAIR = 128
UNSIGNED_PAIR = 256
# Halvings of the interval of a scale, which is 2 % wide: it ends at 0.02 % above the least.
_HALVINGS = 7
_LARGEST_SUMMED = float(np.finfo(np.float32).max) / 4  # magnitudes whose sums float32 holds
Array = NDArray[Any]


def pair_sums(values: Array, guard: Guard, channel: int | None) -> tuple[Array, Array]:
    """The lowest and highest sum of two neighbours that a kernel adds in 16 bits, per index of axis `channel` (None:
    over all). Of signed values only those of one sign are added: the other factor of either may be 0."""
    first, second = _pairs(values, guard, channel)
    if values.dtype.kind == "u":
        total = first.astype(np.int32) + second
        return total.min(axis=1, initial=0), total.max(axis=1, initial=0)
    high = np.maximum(first, 0, dtype=_wide(values)) + np.maximum(second, 0, dtype=_wide(values))
    low = np.minimum(first, 0, dtype=_wide(values)) + np.minimum(second, 0, dtype=_wide(values))
    return low.min(axis=1, initial=0), high.max(axis=1, initial=0)


def exact(codes: Array, guard: Guard, channel: int | None = None) -> NDArray[np.bool_]:
    """Whether no pair of stored integers can saturate, per index of axis `channel`."""
    if not guard.pairs:
        return np.ones(1 if channel is None else codes.shape[channel], bool)
    low, high = pair_sums(codes, guard, channel)
    most = UNSIGNED_PAIR if codes.dtype.kind == "u" else SIGNED_PAIR
    return np.asarray((low >= -most) & (high <= most))


def neighbours(values: Array, guard: Guard) -> tuple[Array, Array]:
    """Both members, [1, pairs] each, of every pair that `guard` speaks of; the last of an odd sum stands beside a 0."""
    return _pairs(values, guard, None)


def guarded_limits(scheme: Scheme, guard: Guard) -> tuple[int, int]:
    """`limits(scheme)`, without the lowest integer of the type where `guard` leaves it out."""
    low, high = limits(scheme)
    kept_out = guard.lowest and scheme.dtype.qmin is not None and low == scheme.dtype.qmin
    return (low + 1 if kept_out else low), high


def guard_symmetric(weight: Array, params: QParams, guard: Guard) -> QParams:
    """`params` of a signed symmetric weight, the scale of each channel raised as little as the guard asks for."""
    scale = np.atleast_1d(params.scale).copy()
    if np.abs(weight).max(initial=0.0) > _LARGEST_SUMMED:  # a quarter of everything: powers of two round nothing
        finer = replace(params, scale=params.scale * np.float32(0.25))
        found = guard_symmetric(weight * np.float32(0.25), finer, guard)
        return replace(found, scale=found.scale * np.float32(4))
    sums, first, second, owner = _critical(weight, guard, params.axis)
    least = (sums / (SIGNED_PAIR + 1)).astype(np.float32)  # rounding down by almost a half each
    enough = (sums / (SIGNED_PAIR - 1)).astype(np.float32)  # rounding up by a half each
    wide = _fits(first, second, owner, scale)
    low, high = np.maximum(scale, least), np.maximum(scale, enough)
    for _ in range(_HALVINGS):
        middle = np.asarray((low + high) / 2, np.float32)
        fits = _fits(first, second, owner, middle)
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    raised = np.where(wide, scale, np.maximum(high, np.float32(SMALLEST_SCALE)))
    return QParams(raised.reshape(params.scale.shape), params.zero_point, params.dtype, params.axis, params.block)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Per channel: how far values reach below and above 0, and the largest sum of two neighbours."""

    below: FloatArray
    above: FloatArray
    pair: FloatArray


def guard_unsigned(weight: Array, scheme: Scheme, axis: int | None, guard: Guard) -> QParams:
    """Scale and zero point of an unsigned weight, from its own values: one zero point for all channels, chosen where
    the scales grow least, since each step that it rises is one less above 0 and one more below."""
    ends = _ends(weight, guard, axis)
    lowest, highest = guarded_limits(scheme, guard)
    plain = np.maximum(np.maximum(ends.below, ends.above), float(SMALLEST_SCALE))
    zeros = np.arange(lowest + 1, UNSIGNED_PAIR // 2)
    with np.errstate(divide="ignore"):
        scales = np.maximum.reduce(
            [
                ends.below[:, None] / (zeros - lowest),
                ends.above[:, None] / (highest - zeros),
                # Each of the two may round up by a half.
                ends.pair[:, None] / (UNSIGNED_PAIR - 1 - 2 * zeros),
            ]
        )
    best = int(np.argmin(((scales / plain[:, None]) ** 2).sum(axis=0)))
    found = np.maximum(scales[:, best], float(SMALLEST_SCALE)).astype(np.float32)
    found = np.nextafter(found, np.float32(np.inf))  # the cast may have rounded down
    empty = (ends.below == 0) & (ends.above == 0)
    filler = found[~empty].max() if not empty.all() else np.float32(1)
    found = np.where(empty, filler, found)
    zero = np.full(found.shape, zeros[best], storage_type(scheme.dtype))
    if axis is None:
        return QParams(found.reshape(()), zero.reshape(()), scheme.dtype)
    return QParams(found, zero, scheme.dtype, axis)


def _ends(weight: Array, guard: Guard, axis: int | None) -> _Ends:
    first, second = _pairs(np.asarray(weight, np.float64), guard, axis)
    low = np.minimum(first.min(axis=1, initial=0.0), second.min(axis=1, initial=0.0))
    high = np.maximum(first.max(axis=1, initial=0.0), second.max(axis=1, initial=0.0))
    pair = (first + second).max(axis=1, initial=0.0)
    return _Ends(-low, high, pair)


def _critical(weight: Array, guard: Guard, axis: int | None) -> tuple[Array, Array, Array, Array]:
    """The largest sum of two neighbours of one sign per channel, and those pairs that may decide its scale: their
    magnitudes, and the channel of each, ascending."""
    first, second = _pairs(np.asarray(weight, np.float32), guard, axis)
    signs = [(np.maximum(first, 0), np.maximum(second, 0)), (np.maximum(-first, 0), np.maximum(-second, 0))]
    a, b = (np.concatenate(parts, axis=1) for parts in zip(*signs, strict=True))
    total = a + b
    sums = total.max(axis=1, initial=0.0)
    near = total >= sums[:, None] * ((SIGNED_PAIR - 2) / (SIGNED_PAIR + 2))
    owner, where = np.nonzero(near)
    return sums, a[owner, where], b[owner, where], owner


def _fits(first: Array, second: Array, owner: Array, scale: FloatArray) -> NDArray[np.bool_]:
    """Whether the integers of no pair add up to more than they may, per channel."""
    own = scale[owner]
    total = np.rint(first / own) + np.rint(second / own)
    most = np.zeros(scale.shape, np.float32)
    np.maximum.at(most, owner, total)
    return np.asarray(most <= SIGNED_PAIR)


def _pairs(values: Array, guard: Guard, channel: int | None) -> tuple[Array, Array]:
    """Both members of every pair, each [channels, pairs]: a sum of odd length ends with a pair of which one is 0."""
    outer = [axis for axis in range(values.ndim) if axis not in guard.pairs]
    if channel is not None:
        channel %= values.ndim
        outer.remove(channel)
        outer.insert(0, channel)
    length = prod(values.shape[axis] for axis in guard.pairs)
    rows = values.transpose(*outer, *guard.pairs).reshape(-1, length)
    if length % 2:
        rows = np.concatenate([rows, np.zeros((len(rows), 1), values.dtype)], axis=1)
    channels = 1 if channel is None else values.shape[channel]
    # Copies without gaps: under qemu-user 7.2, as any x86 CPU, numpy's maximum of float32 with gaps is wrong.
    first, second = (np.ascontiguousarray(rows[:, start::2]) for start in (0, 1))
    return first.reshape(channels, -1), second.reshape(channels, -1)


def _wide(values: Array) -> Any:
    return np.int32 if values.dtype.kind == "i" else values.dtype
