"""Sums and products of two tensors in fixed point, as the reference kernels of TensorFlow Lite compute them.

They are in tensorflow/lite/kernels/internal/reference/integer_ops/{add,mul}.h, the multipliers in
tensorflow/lite/kernels/{add,mul}.cc: of doubles for sums, of float32 for products.
"""

from __future__ import annotations

import numpy as np

from qdsl.integer import rounding as exact
from qdsl.integer.records import Encoding
from qdsl.integer.rounding import Array

LEFT = 20  # bits that counts are raised by before they are scaled


def added(a: Array, b: Array, x: Encoding, y: Encoding, z: Encoding, low: float, high: float) -> Array:
    """`a` and `b` count from their zero points. Both are scaled to twice the larger scale, added, and that to `z`."""
    twice = 2.0 * max(x.scale, y.scale)
    first, second = (
        exact.scaled_fixed(counts << LEFT, np.array([one.scale / twice])) for counts, one in ((a, x), (b, y))
    )
    steps = exact.scaled_fixed(first + second, np.array([twice / (2.0**LEFT * z.scale)]))
    codes: Array = exact.clipped(steps + z.zero, low, high).astype(np.int8)
    return codes


def multiplied(a: Array, b: Array, x: Encoding, y: Encoding, z: Encoding, low: float, high: float) -> Array:
    """`a` and `b` count from their zero points; one multiplier for the product."""
    scale = np.float32(x.scale) * np.float32(y.scale) / np.float32(z.scale)
    steps = exact.scaled_fixed(a * b, np.array([scale]))
    codes: Array = exact.clipped(steps + z.zero, low, high).astype(np.int8)
    return codes
