"""Element types between ONNX and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qdsl.graph.dtypes import type_name

# Integers that torch computes badly or lacks stand in the next wider type.
_TORCH = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bool": torch.bool,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "uint16": torch.int32,
    "int32": torch.int32,
    "uint32": torch.int64,
    "int64": torch.int64,
    "uint64": torch.int64,
    **dict.fromkeys(("int4", "int2"), torch.int8),
    **dict.fromkeys(("uint4", "uint2"), torch.uint8),
}
_WIDER = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}


def torch_type(name: str, floats: torch.dtype = torch.float32) -> torch.dtype:
    """The type in which values of an ONNX type stand. `floats` is the one for float32. KeyError where there is none."""
    return floats if name == "float32" else _TORCH[name]


def torch_type_of(number: int, floats: torch.dtype = torch.float32) -> torch.dtype:
    """The same by the number of an ONNX element type."""
    return torch_type(type_name(number) or "", floats)


def has_type(number: int) -> bool:
    """Whether values of an ONNX element type can stand in torch."""
    return type_name(number) in _TORCH


def as_tensor(value: Tensor | NDArray[Any], floats: torch.dtype) -> Tensor:
    """An array or tensor as a tensor, float32 as `floats`; the memory of an array is not shared."""
    if isinstance(value, Tensor):
        return value.to(floats) if value.dtype is torch.float32 else value
    array = np.asarray(value)
    array = array.astype(_WIDER.get(array.dtype.name, array.dtype), copy=True)
    made = _bfloat16(array) if array.dtype.name == "bfloat16" else torch.from_numpy(array)
    return made.to(floats) if made.dtype is torch.float32 else made


def _bfloat16(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
