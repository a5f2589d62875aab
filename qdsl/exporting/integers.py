"""The integers of one quantized tensor: as a file stores them, or as it makes them of floats when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.finished.records import Finished, Form, QuantizedTensor, Role
from qdsl.graph.folded import folded

_PLAIN = "iubf"  # kinds of numpy types that every reader of npz knows


@dataclass(frozen=True, slots=True)
class Portable:
    """Values as types that numpy itself has: integers of less than 8 bits as int8 or uint8, bfloat16 as float32.
    `bits`: they are the bit patterns of a type that has no other form there (float8)."""

    values: NDArray[Any]
    bits: bool = False


def integers_of(finished: Finished, tensor: QuantizedTensor) -> Portable | None:
    """The integers of a weight or a bias, in the layout in which they are dequantized (or read by an operator on
    integers); None for what only exists while the model runs, and where they cannot be computed."""
    name = _holder(finished, tensor)
    found = None if name is None else folded(finished.model, name)
    return None if found is None else portable(found)


def _holder(finished: Finished, tensor: QuantizedTensor) -> str | None:
    """The tensor that has the integers, where they do not depend on an input of the model."""
    if tensor.form in (Form.STORED, Form.FLOAT_PAIR) and tensor.dequantizers:
        return finished.view.node(tensor.dequantizers[0]).inputs[0]
    if tensor.form is Form.LONE_QUANTIZE and tensor.stored:
        return finished.view.node(tensor.quantizers[0]).outputs[0]
    if tensor.form is Form.OPERATOR and tensor.role is not Role.ACTIVATION and tensor.stored:
        return tensor.stored
    return None


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
