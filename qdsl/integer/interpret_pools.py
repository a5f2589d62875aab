"""Pools over planes with channels last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer import rounding as exact
from qdsl.integer import windows
from qdsl.integer.records import AveragePool, Encoding, MaxPool, Window
from qdsl.integer.values import Values

Array = NDArray[Any]
F32 = np.float32


def max_pool(op: MaxPool, values: Values) -> Array:
    plane = values.arrays[op.inputs[0]][0]
    least = -np.inf if plane.dtype == F32 else np.iinfo(plane.dtype).min
    bordered = windows.padded(plane, op.window, least)
    out: Array = np.full((*windows.size_after(bordered.shape, op.window), plane.shape[2]), least, plane.dtype)
    for _, _, there in windows.taps(bordered, op.window):
        np.maximum(out, there, out=out)
    return out[None]


def average_pool(op: AveragePool, values: Values) -> Array:
    plane = values.arrays[op.inputs[0]][0]
    if not values.quantized(op.inputs[0]):
        return float_average(op, plane)[None]
    x, y = values.encoding(op.inputs[0]), values.encoding(op.output)
    low, high = max(op.low, -128), min(op.high, 127)
    if op.window is None:
        return whole_plane(plane, x, y, low, high, values.rounding)[None]
    divisors = divisors_of(plane.shape, op.window, op.counts_pads)
    if values.rounding == "tflite":
        sums = added(exact.centred(plane, x.zero), op.window)
        return fixed_average(sums, divisors, x, y, low, high)[None]
    steps = added(exact.dequantized(plane, x), op.window) / divisors.astype(F32) / F32(y.scale)
    return exact.to_codes_with_zero(steps + F32(y.zero), low, high)[None]


def divisors_of(shape: tuple[int, ...], window: Window, counts_pads: bool) -> Array:
    """[OH, OW, 1]: what each sum is divided by."""
    on_plane = windows.counts(shape, window)
    return np.full_like(on_plane, window.kernel[0] * window.kernel[1]) if counts_pads else on_plane


def added(plane: Array, window: Window) -> Array:
    """The sums under a window, in the order of its rows and in the type of `plane`; padding counts as 0."""
    bordered = windows.padded(plane, window, 0)
    out: Array = np.zeros((*windows.size_after(bordered.shape, window), plane.shape[2]), plane.dtype)
    for _, _, there in windows.taps(bordered, window):
        out += there
    return out


def whole_plane(plane: Array, x: Encoding, y: Encoding, low: float, high: float, rounding: exact.Rounding) -> Array:
    """QLinearGlobalAveragePool: one requantization of the integer sum; the zero point comes after the rounding."""
    sums = exact.centred(plane, x.zero).sum(axis=(0, 1), keepdims=True, dtype=np.int32)
    scale = average_scale(x, y, plane.shape[0] * plane.shape[1])
    return exact.requantized(sums, np.array([scale], F32), y.zero, low, high, rounding)


def average_scale(x: Encoding, y: Encoding, count: int) -> np.float32:
    """float32 by which a sum of `count` codes becomes steps of the output."""
    return F32(F32(x.scale) / F32(F32(y.scale) * F32(count)))


def fixed_average(sums: Array, divisors: Array, x: Encoding, y: Encoding, low: float, high: float) -> Array:
    """In fixed point: one multiplier for each divisor that occurs."""
    out: Array = np.empty(sums.shape, np.int8)
    for count in np.unique(divisors):
        here = divisors[:, :, 0] == count
        scale = np.array([average_scale(x, y, int(count))], F32)
        out[here] = exact.requantized(sums[here], scale, y.zero, low, high, "tflite")
    return out


def float_average(op: AveragePool, plane: Array) -> Array:
    if op.window is None:
        return exact.clipped(plane_mean(plane), op.low, op.high)
    divisors = divisors_of(plane.shape, op.window, op.counts_pads)
    return exact.clipped(added(plane, op.window) / divisors.astype(F32), op.low, op.high)


def plane_mean(plane: Array) -> Array:
    """[1, 1, C] of float32 [H, W, C], to the bit as GlobalAveragePool has it (MLAS, on x86-64): four sums of every
    fourth pixel, (0 + 2) + (1 + 3), then what is left of the pixels."""
    pixels = plane.reshape(-1, plane.shape[2])
    fours = pixels[: len(pixels) // 4 * 4].reshape(-1, 4, plane.shape[2])
    lanes: Array = np.zeros((4, plane.shape[2]), F32)
    for four in fours:
        lanes += four
    sums = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
    for pixel in pixels[4 * len(fours) :]:
        sums = sums + pixel
    mean: Array = sums / F32(len(pixels))
    return mean[None, None]
