"""Functions of one code as tables, computed as ONNX Runtime computes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.functions import apply
from qdsl.integer.records import Encoding
from qdsl.integer.rounding import dequantized, quantized

CODES = np.arange(-128, 128).astype(np.int8)


def table_of(function: str, attributes: Mapping[str, float], x: Encoding, y: Encoding) -> NDArray[Any]:
    """int8 [256]: for code q of `x`, entry q + 128 is the code of `y`: DequantizeLinear, the operator, QuantizeLinear.

    Raises KeyError for a function that is not in `qdsl.integer.functions.FUNCTIONS`."""
    return quantized(apply(function, attributes, dequantized(CODES, x)), y)


def requantizing_table(x: Encoding, y: Encoding) -> NDArray[Any]:
    """int8 [256]: from one encoding to another, as QLinearConcat does it; the codes themselves where both are one."""
    return CODES if x == y else table_of("Identity", {}, x, y)


def softmax_exps(x: Encoding, length: int) -> NDArray[Any]:
    """float32 [256]: the power of e of what lies 255 - i steps below the largest of `length` codes, as QLinearSoftmax
    keeps them: raised so far that their sum just fits float32."""
    raised = max(0.0, math.log(np.finfo(np.float32).max / np.float32(length)) - 5) / x.scale
    powers: NDArray[Any] = np.array([math.exp((i - 255 + raised) * x.scale) for i in range(256)]).astype(np.float32)
    return powers
