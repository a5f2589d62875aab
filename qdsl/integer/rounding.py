"""How numbers become integers: the small functions that every kernel of the interpreter rounds, clips and centres with.

In float32, as ONNX Runtime does, or in fixed point, as the reference kernels of TensorFlow Lite do:
`MultiplyByQuantizedMultiplier` of tensorflow/lite/kernels/internal/common.h, with `RoundingDivideByPOT` and
`SaturatingRoundingDoublingHighMul` of gemmlowp/fixedpoint/fixedpoint.h: two roundings. Convolutions, Add and Mul are
then those of LiteRT 2.3.0 to the bit. Its fully connected kernel rounds once (4 outputs in a thousand differ), its
AVERAGE_POOL_2D rounds around code 0 and changes no encoding, its MEAN makes another multiplier: here all use one rule.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Encoding

Rounding = Literal["ort", "tflite"]
Array = NDArray[Any]

F32 = np.float32
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def rint(values: Array) -> Array:
    """The nearest whole numbers, halves to even, still as floats."""
    rounded: Array = np.rint(values)
    return rounded


def clipped(values: Array, low: float, high: float) -> Array:
    """At least `low` and at most `high`, in the type of `values`."""
    kind = values.dtype.type
    kept: Array = np.clip(values, kind(low), kind(high))
    return kept


def centred(codes: Array, zero: int) -> Array:
    """int32: what codes count from their zero point."""
    counts: Array = codes.astype(np.int32) - np.int32(zero)
    return counts


def fused(a: Array | np.float32, b: Array | np.float32, c: Array | np.float32) -> Array:
    """a * b + c of float32, rounded once. Exact where the sum fits the 53 bits of a float64 between, as for codes."""
    once: Array = (np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)).astype(F32)
    return once


def to_codes(values: Array, zero: int, low: float, high: float, dtype: str = "int8") -> Array:
    """float32 in steps of the output to codes: clip(rint(values) + zero, low, high)."""
    within = clipped(values, low - zero, high - zero)
    codes: Array = (rint(within).astype(np.int32) + np.int32(zero)).astype(dtype)
    return codes


def to_codes_with_zero(values: Array, low: float, high: float) -> Array:
    """float32 in steps of the output, with its zero point in it, to codes: clip(rint(values), low, high)."""
    codes: Array = rint(clipped(values, low, high)).astype(np.int8)
    return codes


def quantized(values: Array, encoding: Encoding, dtype: str = "int8") -> Array:
    """QuantizeLinear: float32 to codes by a division in float32, zero point after the rounding; NaN is the least."""
    low, high = LIMITS[dtype]
    with np.errstate(over="ignore"):
        steps: Array = values / F32(encoding.scale)
    return to_codes(np.where(np.isnan(steps), F32(low - encoding.zero), steps), encoding.zero, low, high, dtype)


def dequantized(codes: Array, encoding: Encoding) -> Array:
    """DequantizeLinear: codes to float32."""
    values: Array = centred(codes, encoding.zero).astype(F32) * F32(encoding.scale)
    return values


def requantized(sums: Array, scale: Array, zero: int, low: float, high: float, rounding: Rounding) -> Array:
    """int32 sums to int8 by a float32 `scale`, [1] or one per last axis, zero point after the rounding."""
    if rounding == "ort":
        return to_codes(sums.astype(F32) * scale, zero, low, high)
    codes: Array = clipped(scaled_fixed(sums, scale) + zero, low, high).astype(np.int8)
    return codes


def multiplier(scale: float) -> tuple[int, int]:
    """`QuantizeMultiplier`: (q, shift) with scale = q / 2^31 * 2^shift, q in [2^30, 2^31) or 0."""
    fraction, shift = math.frexp(scale)
    q = math.floor(fraction * 2**31 + 0.5)
    if q == 2**31:
        q, shift = q // 2, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return 2**31 - 1, 30
    return q, shift


def scaled_fixed(sums: Array, scale: Array) -> Array:
    """int32 sums by `scale`, [1] or one per last axis, in fixed point: int64 that hold int32."""
    pairs = [multiplier(float(one)) for one in scale]
    q, shift = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
    raised = wrapped(sums.astype(np.int64) << np.maximum(shift, 0))
    return divided(doubled_high(raised, q), np.maximum(-shift, 0))


def wrapped(values: Array) -> Array:
    """int64 to what an int32 of two's complement holds of them, as int64."""
    held: Array = values.astype(np.int32).astype(np.int64)
    return held


def doubled_high(a: Array, b: Array) -> Array:
    """`SaturatingRoundingDoublingHighMul`: the upper half of 2ab, rounded by a division that truncates. Nothing
    saturates, since only a = b = -2^31 would, and `b` is positive here."""
    product = a * b
    nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
    high: Array = np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31))
    return high


def divided(values: Array, exponent: Array) -> Array:
    """`RoundingDivideByPOT`: by 2^exponent to the nearest, halves away from zero."""
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (values < 0)
    quotient: Array = (values >> exponent) + ((values & mask) > threshold)
    return quotient
