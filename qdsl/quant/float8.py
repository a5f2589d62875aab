"""E4M3, the float8 of ONNX (float8e4m3fn), as numpy: its values and their codes.

One sign bit, four of exponent (bias 7), three of fraction; the lowest exponent is of subnormal numbers, there is no
infinity and one NaN (OCP 8 bit floating point specification, revision 1.0). Codes are the bits, as uint8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.spec.dtypes import FLOAT8_LARGEST

_SIGN = 0x80
_FRACTION, _BIAS = 3, 7
_SMALLEST = 1 - _BIAS  # exponent of the smallest normal number, and of the steps below it


def _values() -> NDArray[np.float32]:
    """The value of each code."""
    codes = np.arange(256)
    exponent, fraction = (codes >> _FRACTION) & 0xF, codes & 0x7
    normal = np.ldexp(1 + fraction / 8, exponent - _BIAS)
    found = np.where(exponent == 0, np.ldexp(fraction / 8, _SMALLEST), normal)
    found[(codes & 0x7F) == 0x7F] = np.nan
    return np.where(codes & _SIGN, -found, found).astype(np.float32)


VALUES = _values()
_MAGNITUDES = VALUES[: _SIGN - 1]  # of the codes 0 to 126, rising


def encode(x: NDArray[Any]) -> NDArray[np.uint8]:
    """The codes of `x`, same shape: rounded half to even, saturated at the largest value, as QuantizeLinear does. `x`
    must not hold NaN."""
    magnitude = np.minimum(np.abs(np.asarray(x, np.float64)), FLOAT8_LARGEST)
    _, exponent = np.frexp(magnitude)
    step = np.ldexp(1.0, np.maximum(exponent - 1, _SMALLEST) - _FRACTION)
    rounded = np.rint(magnitude / step) * step
    codes = np.searchsorted(_MAGNITUDES, rounded).astype(np.uint8)
    return np.asarray(codes | (np.signbit(x) * np.uint8(_SIGN)).astype(np.uint8), np.uint8)


def decode(codes: NDArray[Any]) -> NDArray[np.float32]:
    """The values of `codes`, same shape."""
    return np.asarray(VALUES[codes], np.float32)
