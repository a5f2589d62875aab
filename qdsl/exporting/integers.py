"""The integers of one quantized tensor: as a file stores them, or as it makes them of floats when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.finished.codes import codes, scales, zeros
from qdsl.finished.records import Finished, Form, QuantizedTensor
from qdsl.graph.folded import folded

_NEAREST = ("ROUND", "HALF_EVEN")
_PLAIN = "iubf"  # kinds of numpy types that every reader of npz knows


@dataclass(frozen=True, slots=True)
class Portable:
    """Values as types that numpy itself has: integers of less than 8 bits as int8 or uint8, bfloat16 as float32.
    `bits`: they are the bit patterns of a type that has no other form there (float8)."""

    values: NDArray[Any]
    bits: bool = False


def integers_of(finished: Finished, tensor: QuantizedTensor) -> Portable | None:
    """The integers of a weight or a bias, in the layout in which they are dequantized (or read by an operator on
    integers); None for what only exists while the model runs, for what an operator packs, and where they cannot be
    computed."""
    if not tensor.stored:
        return None
    found = codes(finished, tensor)
    if found is None and tensor.form is Form.FAKE:
        found = _rounded(finished, tensor)
    elif found is None and (name := _holder(finished, tensor)) is not None:
        found = folded(finished.model, name)
    return None if found is None else portable(found)


def stored_of(finished: Finished, tensor: QuantizedTensor) -> Portable | None:
    """The constant behind a weight as the file stores it: what there is where its integers are not known."""
    found = folded(finished.model, tensor.stored) if tensor.stored else None
    return None if found is None else portable(found)


def _holder(finished: Finished, tensor: QuantizedTensor) -> str | None:
    """The tensor that has the integers, where `codes` does not read them: bits of float8, and what is written without
    ever being read as floats."""
    if tensor.form in (Form.STORED, Form.FLOAT_PAIR) and tensor.dequantizers:
        return finished.view.node(tensor.dequantizers[0]).inputs[0]
    if tensor.form is Form.LONE_QUANTIZE:
        return finished.view.node(tensor.quantizers[0]).outputs[0]
    return None


def _rounded(finished: Finished, tensor: QuantizedTensor) -> NDArray[Any] | None:
    """What a `Quant` of QONNX makes of constant floats; None for other roundings than to the nearest, half to even."""
    node, own = finished.view.node(tensor.quantizers[0]), tensor.parameters
    mode = str(node.attrs.get("rounding_mode", "ROUND")).upper()
    floats = folded(finished.model, tensor.tensor) if node.op == "Quant" and mode in _NEAREST else None
    if floats is None or own.low is None or own.high is None:
        return None
    scale, zero = scales(own, floats.shape), zeros(own, floats.shape)
    if scale is None or zero is None:
        return None
    rounded = np.rint(np.asarray(floats, np.float32) / scale + zero)
    return np.clip(rounded, own.low, own.high).astype(_holding(own.low, own.high))


def _holding(low: int, high: int) -> np.dtype[Any]:
    """The smallest type for integers from `low` to `high`."""
    return np.result_type(
        np.min_scalar_type(low), np.min_scalar_type(-1 - high) if low < 0 else np.min_scalar_type(high)
    )


def portable(values: NDArray[Any]) -> Portable:
    """`values` in types that numpy itself has."""
    array = np.asarray(values)
    if array.dtype.kind in _PLAIN:
        return Portable(array)
    name = array.dtype.name
    if name in ("int4", "int2", "uint4", "uint2"):
        return Portable(array.astype(np.int8 if name.startswith("i") else np.uint8))
    if name == "bfloat16":
        return Portable(array.astype(np.float32))
    if array.dtype.itemsize == 1:
        return Portable(array.view(np.uint8), bits=True)
    return Portable(array.astype(np.float64))
