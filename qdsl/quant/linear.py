"""QuantizeLinear and DequantizeLinear as numpy, for any quantized type, per tensor, per channel and per block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.quant.float8 import decode, encode
from qdsl.spec import DType

FloatArray = NDArray[np.float32]
IntArray = NDArray[Any]


def storage_type(dtype: DType) -> np.dtype[Any]:
    """The numpy type that holds stored values of `dtype`: types under 8 bits stand unpacked, one per byte, and floats
    of 8 bits as their codes."""
    if not dtype.quantized:
        raise ValueError(f"{dtype} is not a quantized type")
    if not dtype.integer:
        return np.dtype(np.uint8)
    width = max(dtype.bits, 8)
    return np.dtype(f"{'int' if dtype.signed else 'uint'}{width}")


@dataclass(frozen=True, slots=True)
class QParams:
    """Scale (float32) and zero point (in `storage_type(dtype)`) of one tensor, equal in shape.

    Shape: () per tensor; (channels,) with `axis` per channel; with `axis` and `block`, the tensor's own shape with
    dimension `axis` divided by `block`, rounded up (ONNX QuantizeLinear-21).
    """

    scale: FloatArray
    zero_point: IntArray
    dtype: DType
    axis: int | None = None
    block: int | None = None


def quantize(x: NDArray[Any], params: QParams, limits: tuple[int, int] | None = None) -> IntArray:
    """Integers of `x`, same shape: saturate(round_half_even(x / scale) + zero_point), the division in float32; of a
    float type its codes, which have no zero point.

    Saturates at `limits`, by default those of the type, as the ONNX operator does. `x` must be finite.
    """
    lowest, highest = limits or params.dtype.ends
    scale, zero = _fit(params, x)
    with np.errstate(over="ignore"):  # a quotient past float32 is infinite, and saturates
        quotient = np.asarray(np.asarray(x, np.float32) / scale)
    if not params.dtype.integer:
        return encode(np.clip(quotient, np.float32(lowest), np.float32(highest)))
    steps = np.asarray(np.rint(quotient))
    np.clip(steps, np.float32(lowest) - zero, np.float32(highest) - zero, out=steps)
    steps += zero
    stored: IntArray = steps.astype(storage_type(params.dtype))
    return stored


def dequantize(q: IntArray, params: QParams) -> FloatArray:
    """Float32 values of `q`, same shape: (q - zero_point) * scale, the product in float32."""
    scale, zero = _fit(params, q)
    if not params.dtype.integer:
        return np.asarray(decode(q) * scale, np.float32)
    return np.asarray((q.astype(np.float32) - zero) * scale, np.float32)


def spread_over(params: QParams, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Scale and zero point, as float32, shaped to broadcast against a tensor of `shape`."""
    return _spread(params.scale, params, shape), _spread(params.zero_point.astype(np.float32), params, shape)


def _fit(params: QParams, x: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    return spread_over(params, x.shape)


def _spread(values: FloatArray, params: QParams, shape: tuple[int, ...]) -> FloatArray:
    if params.axis is None:
        return values.reshape(())
    axis = params.axis % len(shape)
    if params.block is not None:
        whole = np.repeat(values, params.block, axis=axis)
        return whole.take(range(shape[axis]), axis=axis)
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
