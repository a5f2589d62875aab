"""Scales of few levels for a whole tensor: those under which integers come back nearest to its values, in place of
those that hold the largest.

With 16 levels, or 4, a step that reaches the largest value of all channels is several times wider than what most of
them need: cutting off a few costs less than rounding all of them coarsely (Nagel et al. 2021, "A White Paper on Neural
Network Quantization", section 3.1: the range of least mean squared error). Errors count by their cubes here: squares
cut off too much, since what is large in a weight matters most in what it writes. For the same reason a channel or block
keeps the range that holds all its values (docs/targets.md has what was measured).

Errors are added up in whole numbers, which no order of adding changes: one weight gets one scale on every CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.quant.linear import FloatArray, IntArray, QParams
from qdsl.quant.scales import SMALLEST_SCALE, limits, spread
from qdsl.spec import Granularity, Scheme

# From this width on a range that holds every value is as good: steps are fine, and what is cut off is large.
FROM_BITS = 8
_FEW = 2
# The range that holds every value, times each of these: some wider ones first, down to a sixth.
FACTORS = tuple(1.2 * 0.9**step for step in range(20))
_POLISHES = 2
# Errors are counted in so many parts of the first scale: whole numbers, whose cubes fit into int64 when added up.
_PARTS = 256.0
# Values that are looked at together: what is held at once does not grow with the weight.
_TOGETHER = 1 << 15
Rows = NDArray[np.float32]
Sums = NDArray[np.float64]


def by_least_error(scheme: Scheme) -> bool:
    """Whether the scale of a weight of `scheme` is chosen by the error of all its values.

    Where one scale is for a whole tensor: the largest value of one channel would set the steps of all. And in 2 bits
    about a middle, whose 1 step above it would be as wide as the largest value. Channels and blocks are better off with
    the range that holds every value: few have much to cut off, and what is cut off weighs in what they write.
    """
    bits = scheme.emulated_bits or scheme.dtype.bits
    coarse = scheme.granularity is Granularity.PER_TENSOR or (scheme.symmetric and bits <= _FEW)
    return scheme.dtype.integer and bits < FROM_BITS and coarse


def least_error_scale(
    weight: NDArray[Any], params: QParams, scheme: Scheme, ends: tuple[int, int] | None = None
) -> QParams:
    """`params` of `weight` [any shape, finite], whose scales hold every value, with the scale and zero point of least
    error in their place, by the sum of cubes, tensor by tensor, channel by channel or block by block.

    Tried are FACTORS of the range, both ends of it alike; then the scale that is best for the integers found,
    sum(w q) / sum(q q). What is not better than `params` leaves them as they are, as zeros do. `ends`: the integers to
    use, by default those of the scheme.
    """
    rows = _rows(weight, params)
    held, at = _per_row(params.scale, params), _per_row(params.zero_point, params)
    search = _Search(rows, scheme, ends or limits(scheme), held.astype(np.float64) / _PARTS)
    low, high = rows.min(axis=1).astype(np.float64), rows.max(axis=1).astype(np.float64)
    best = search.judged(held, at)
    for factor in FACTORS:
        tried = search.judged(*spread(np.minimum(low, 0) * factor, np.maximum(high, 0) * factor, scheme, search.ends))
        best = best.or_better(tried)
    for _ in range(0 if scheme.float16_scales else _POLISHES):
        best = best.or_better(search.judged(search.fitted(best), best.zero))
    scale, zero = _back(best.scale, weight, params), _back(best.zero, weight, params)
    return QParams(scale, zero, params.dtype, params.axis, params.block)


@dataclass(frozen=True, slots=True)
class _Found:
    """A scale and a zero point per row, and what they cost."""

    scale: FloatArray
    zero: IntArray
    error: NDArray[np.int64]

    def or_better(self, other: _Found) -> _Found:
        better = other.error < self.error
        pairs = ((self.scale, other.scale), (self.zero, other.zero), (self.error, other.error))
        return _Found(*(np.where(better, new, old) for old, new in pairs))


@dataclass(frozen=True, slots=True)
class _Search:
    """Values in rows that have one scale each; `unit` is what errors of a row are counted in."""

    rows: Rows
    scheme: Scheme
    ends: tuple[int, int]
    unit: Sums

    def judged(self, scale: FloatArray, zero: IntArray) -> _Found:
        """The sum of the cubes of errors per row, in units."""
        error = np.zeros(len(self.rows), np.int64)
        for at, values, steps in self._pieces(scale, zero):
            lost = np.rint((values - steps * scale[at, None].astype(np.float64)) / self.unit[at, None])
            error[at] += np.abs(lost * lost * lost).astype(np.int64).sum(axis=1)
        return _Found(scale, zero, error)

    def fitted(self, found: _Found) -> FloatArray:
        """The scale of least squared error for the integers that `found` gives."""
        product, square = np.zeros(len(self.rows)), np.zeros(len(self.rows))
        for at, values, steps in self._pieces(found.scale, found.zero):
            product[at] += (np.rint(values / self.unit[at, None]) * steps).sum(axis=1)
            square[at] += (steps * steps).sum(axis=1)
        best = self.unit * product / np.maximum(square, 1.0)
        return np.where(best > float(SMALLEST_SCALE), best, found.scale).astype(np.float32)

    def _pieces(self, scale: FloatArray, zero: IntArray) -> Iterator[tuple[slice, Sums, Sums]]:
        """Some rows, a part of their values, and the integers of these less the zero point."""
        count, length = self.rows.shape
        height = max(1, _TOGETHER // max(length, 1))
        for top in range(0, count, height):
            at = slice(top, top + height)
            below, above = (np.float32(end) - zero[at, None].astype(np.float32) for end in self.ends)
            for left in range(0, length, _TOGETHER):
                values = self.rows[at, left : left + _TOGETHER]
                with np.errstate(over="ignore"):
                    steps = np.rint(values / scale[at, None])
                yield at, values.astype(np.float64), np.clip(steps, below, above).astype(np.float64)


def _rows(weight: NDArray[Any], params: QParams) -> Rows:
    """The values of each scale as a row, in the order of the scales; a block cut short ends in zeros, which
    cost nothing."""
    values = np.asarray(weight, np.float32)
    if params.axis is None:
        return values.reshape(1, -1)
    values = np.moveaxis(values, params.axis, -1 if params.block else 0)
    if not params.block:
        return values.reshape(len(values), -1)
    missing = -values.shape[-1] % params.block
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
    return padded.reshape(-1, params.block)


def _per_row(numbers: NDArray[Any], params: QParams) -> NDArray[Any]:
    return (np.moveaxis(numbers, params.axis or 0, -1) if params.block else numbers).reshape(-1)


def _back(per_row: NDArray[Any], weight: NDArray[Any], params: QParams) -> NDArray[Any]:
    """One number per row in the shape that `params` have."""
    if params.axis is None or not params.block:
        return per_row.reshape(params.scale.shape)
    others = [size for axis, size in enumerate(weight.shape) if axis != params.axis]
    return np.ascontiguousarray(np.moveaxis(per_row.reshape(*others, -1), -1, params.axis))
