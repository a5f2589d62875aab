"""Functions of single integers as tables of 256."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qdsl.integer.functions import apply
from qdsl.integer.lower_values import Array, Step
from qdsl.integer.records import Encoding
from qdsl.integer.rounding import dequantized, quantized

CODES = np.arange(-128, 128).astype(np.int8)
_TWO = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}


def stepped(steps: Sequence[Step], x: Array) -> Array:
    """float32 `x` through every step, in float32."""
    made = x
    for step in steps:
        made = _stepped(step, made, x)
    return made


def _stepped(step: Step, x: Array, source: Array) -> Array:
    if step.other is None:
        return apply(step.function, dict(step.attributes), x)
    other = stepped(step.other, source) if isinstance(step.other, tuple) else np.asarray(step.other, np.float32)
    with np.errstate(all="ignore"):
        made: Array = _TWO[step.function](other, x) if step.first else _TWO[step.function](x, other)
    return made


def table_values(steps: Sequence[Step], x: Encoding, y: Encoding) -> Array:
    """int8 [256]: what DequantizeLinear, `steps` and QuantizeLinear make of each code."""
    return quantized(stepped(steps, dequantized(CODES, x)), y)


def clamped(low: int, high: int) -> Array:
    """int8 [256]: codes cut off at `low` and `high`."""
    return np.clip(CODES, low, high)
