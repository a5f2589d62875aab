"""Quantized layers to audit: one Conv or Gemm with whatever scales, zero points, axes and types."""

from __future__ import annotations

from typing import Any

import numpy as np
from audit_tools import File
from numpy.typing import NDArray
from onnx import ModelProto

Array = NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    """int8 codes of a bell-shaped weight, with -127 and 127 in every output channel."""
    values = np.random.default_rng(seed).standard_normal(shape)
    most = np.abs(values).reshape(shape[0], -1).max(axis=1).reshape(-1, *[1] * (len(shape) - 1))
    return np.asarray(np.rint(values / most * 127), np.int8)


def small(*shape: int) -> Array:
    """Codes of which no two neighbours pass int16 with uint8 beside them."""
    return np.asarray(np.clip(normal(*shape), -64, 63), np.int8)


def stored(
    file: File, name: str, codes: Array, scale: Any, *, zero: Any = 0, axis: int | None = 0, **attributes: Any
) -> str:
    """A weight behind its DequantizeLinear; with more scales than one along `axis` (None: not written)."""
    scales = np.asarray(scale, np.float32)
    file.constant(name, codes)
    names = [file.constant(f"{name}_s", scales)]
    names.append(file.constant(f"{name}_z", np.broadcast_to(np.asarray(zero, codes.dtype), scales.shape)))
    written = {"axis": axis} if scales.ndim and axis is not None else {}
    return file.node("DequantizeLinear", name, *names, name=f"{name}_dq", **written, **attributes)


def conv(
    codes: Array | None = None,
    scale: Any = 0.01,
    *,
    out: float = 0.2,
    bias: Array | None = None,
    steps: Any = None,
    file: File | None = None,
    data: float = 0.05,
    then: str = "",
    **weight: Any,
) -> ModelProto:
    """x -> pair -> Conv 1x1 -> [`then`] -> pair, with `bias` as float, or (`steps`) as int32 in steps of so much."""
    file = file or File()
    read = file.pair("x", scale=data)
    given = stored(file, "w", small(8, 4, 1, 1) if codes is None else codes, scale, **weight)
    inputs = [read, given]
    if bias is not None and steps is not None:
        names = [file.constant("b", np.asarray(bias, np.int32)), file.constant("b_s", np.asarray(steps, np.float32))]
        along = {"axis": 0} if np.ndim(steps) else {}
        inputs.append(file.node("DequantizeLinear", *names, name="b_dq", **along))
    elif bias is not None:
        inputs.append(file.constant("b", np.asarray(bias, np.float32)))
    group = 1 if codes is None else 4 // codes.shape[1]
    result = file.node("Conv", *inputs, name="conv", group=group)
    result = file.node(then, result, name="then") if then else result
    return file.give(file.pair(result, scale=out))
