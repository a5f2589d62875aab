"""ONNX element types: their names, widths and numpy kin."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto

# onnx.in.proto, TensorProto.DataType: name in lower case -> bits per element; strings have no width.
_BITS = {
    "float32": 32,
    "uint8": 8,
    "int8": 8,
    "uint16": 16,
    "int16": 16,
    "int32": 32,
    "int64": 64,
    "bool": 8,
    "float16": 16,
    "float64": 64,
    "uint32": 32,
    "uint64": 64,
    "complex64": 64,
    "complex128": 128,
    "bfloat16": 16,
    "float8e4m3fn": 8,
    "float8e4m3fnuz": 8,
    "float8e5m2": 8,
    "float8e5m2fnuz": 8,
    "uint4": 4,
    "int4": 4,
    "float4e2m1": 4,
    "float8e8m0": 8,
    "uint2": 2,
    "int2": 2,
}
_RENAMED = {"FLOAT": "float32", "DOUBLE": "float64"}
_NAMES: dict[int, str] = {
    number: _RENAMED.get(name, name.lower()) for name, number in TensorProto.DataType.items() if number
}
_NUMBERS: dict[str, int] = {name: number for number, name in _NAMES.items()}
_NUMPY = {
    name: np.dtype(name)
    for name in _BITS
    if name in ("bool", "complex64", "complex128")
    or (name.rstrip("0123456789") in ("int", "uint", "float") and _BITS[name] >= 8 and "e" not in name)
}
PACKED = ("int4", "uint4", "int2", "uint2")


def type_name(number: int) -> str | None:
    """The name of an element type ("float32", "int4", "string"); None for a number that ONNX does not define."""
    return _NAMES.get(number)


def type_number(name: str) -> int:
    """The number of the element type called `name`; KeyError when there is none."""
    return _NUMBERS[name]


def bits_of(number: int) -> int | None:
    """Bits per element; None for strings and for unknown types."""
    return _BITS.get(_NAMES.get(number, ""))


def bits_by_name(name: str | None) -> int | None:
    """Bits per element of the type called `name`; None for strings and for what is unknown."""
    return _BITS.get(name or "")


def numpy_type(number: int) -> np.dtype[Any] | None:
    """The plain numpy type with the same bits; None for the types that numpy itself lacks."""
    return _NUMPY.get(_NAMES.get(number, ""))


def number_of(dtype: Any) -> int:
    """The element type of a numpy dtype, of one of ml_dtypes' dtypes, or of a number already.

    Raises KeyError for a dtype that ONNX lacks."""
    return dtype if isinstance(dtype, int) else _number_of(np.dtype(dtype))


@cache
def _number_of(found: np.dtype[Any]) -> int:
    if found.kind in ("U", "S", "O"):
        return int(TensorProto.STRING)
    name = (
        found.name.replace("float8_e8m0fnu", "float8e8m0").replace("float4_e2m1fn", "float4e2m1").replace("8_e", "8e")
    )
    return type_number(name)


def byte_count(number: int, elements: int) -> int | None:
    """Bytes that `elements` of a type take when packed; None for strings."""
    bits = bits_of(number)
    return None if bits is None else (elements * bits + 7) // 8
