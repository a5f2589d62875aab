"""Sums of products: convolutions and matrices, of integers and of float32.

Integers are multiplied as float32 where no partial sum can reach 2^24, else as float64 (2^53): both are exact then, in
any order, and fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer import rounding as exact
from qdsl.integer import windows
from qdsl.integer.records import Conv, Dense, Encoding, FloatConv, FloatDense, Floats, Requantize, Window
from qdsl.integer.values import Values

Array = NDArray[Any]


def exact_type(weight: Array, most: int) -> type[np.floating[Any]]:
    """The float type in which `weight` [Cout, ...] adds products with integers of at most `most` exactly."""
    largest = int(np.abs(weight.reshape(len(weight), -1).astype(np.int64)).sum(axis=1).max()) * most
    return np.float32 if largest < 2**24 else np.float64


def convolved(plane: Array, weight: Array, window: Window, groups: int) -> Array:
    """[OH, OW, Cout] of [H, W, C], padding counted as 0; `weight` is [Cout, KH, KW, Cin / groups], both of one type."""
    bordered = windows.padded(plane, window, 0)
    if weight.shape[3] == 1 and groups > 1:
        return by_channel(bordered, weight, window, groups)
    sizes = windows.size_after(bordered.shape, window)
    out: Array = np.empty((*sizes, len(weight)), plane.dtype)
    ins, outs = plane.shape[2] // groups, len(weight) // groups
    for group in range(groups):
        seen = windows.patches(bordered[:, :, group * ins : (group + 1) * ins], window)
        kernels = weight[group * outs : (group + 1) * outs].reshape(outs, -1)
        flat = seen.reshape(sizes[0] * sizes[1], -1) @ kernels.T
        out[:, :, group * outs : (group + 1) * outs] = flat.reshape(*sizes, outs)
    return out


def by_channel(bordered: Array, weight: Array, window: Window, groups: int) -> Array:
    """A group per channel of the input: tap by tap."""
    spread = np.repeat(bordered, len(weight) // groups, axis=2) if len(weight) > groups else bordered
    out: Array = np.zeros((*windows.size_after(bordered.shape, window), len(weight)), bordered.dtype)
    for i, j, there in windows.taps(spread, window):
        out += there * weight[:, i, j, 0]
    return out


def conv(op: Conv, values: Values) -> Array:
    x, zero = values.codes(op)
    dtype = exact_type(op.weight, 255)
    products = convolved(exact.centred(x[0], zero).astype(dtype), op.weight.astype(dtype), op.window, op.groups)
    return finished(op, with_bias(products.astype(np.int32), op.bias), values)[None]


def dense(op: Dense, values: Values) -> Array:
    x, zero = values.codes(op)
    dtype = exact_type(op.weight, 255)
    products = exact.centred(x, zero).astype(dtype) @ op.weight.astype(dtype).T
    return finished(op, with_bias(products.astype(np.int32), op.bias), values)


def with_bias(sums: Array, bias: Array | None) -> Array:
    """int32 sums plus the int32 bias of each last axis."""
    return sums if bias is None else sums + bias.astype(np.int32)


def finished(op: Conv | Dense, sums: Array, values: Values) -> Array:
    """What becomes of int32 sums."""
    if isinstance(op.to, Requantize):
        zero = values.encoding(op.output).zero
        return exact.requantized(sums, op.to.scale, zero, op.to.low, op.to.high, values.rounding)
    return in_floats(sums, op.to, values.found(op))


def in_floats(sums: Array, to: Floats, found: Encoding | None) -> Array:
    """Sums as float32; `found` is the encoding of the input where it was found at run time."""
    scale = to.scale if found is None else to.scale * np.float32(found.scale)
    scaled: Array = sums.astype(np.float32) * scale
    return exact.clipped(scaled if to.bias is None else scaled + to.bias, to.low, to.high)


def float_conv(op: FloatConv, values: Values) -> Array:
    products = convolved(values.arrays[op.inputs[0]][0], op.weight, op.window, op.groups)
    return clipped_floats(products, op)[None]


def float_dense(op: FloatDense, values: Values) -> Array:
    return clipped_floats(values.arrays[op.inputs[0]] @ op.weight.T, op)


def clipped_floats(products: Array, op: FloatConv | FloatDense) -> Array:
    sums = products if op.bias is None else products + op.bias
    return exact.clipped(sums, op.low, op.high)
