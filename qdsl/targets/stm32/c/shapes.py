"""Tensors of an integer graph as C sees them: bytes, rows, C types."""

from __future__ import annotations

from math import prod

from qdsl.integer.records import Encoding, IntegerGraph, Op, Tensor

SIZES = {"int8": 1, "uint8": 1, "int32": 4, "int64": 8, "float32": 4}


def elements(tensor: Tensor) -> int:
    return prod(tensor.shape)


def nbytes(tensor: Tensor) -> int:
    return elements(tensor) * SIZES[tensor.dtype]


def rows_of(tensor: Tensor) -> tuple[int, int]:
    """How many rows a row kernel sees of a tensor, and the bytes of one: those of the height of [1, H, W, C], else one
    row that is all of it."""
    if len(tensor.shape) != 4 or tensor.shape[0] != 1 or tensor.shape[1] == 0:
        return 1, nbytes(tensor)
    return tensor.shape[1], nbytes(tensor) // tensor.shape[1]


def row_elements(tensor: Tensor) -> int:
    return rows_of(tensor)[1] // SIZES[tensor.dtype]


def of(graph: IntegerGraph, op: Op) -> tuple[tuple[Tensor, ...], Tensor]:
    """The tensors that an operator reads, and the one that it writes."""
    return tuple(graph.tensors[name] for name in op.inputs), graph.tensors[op.output]


def encoding(tensor: Tensor) -> Encoding:
    """Raises ValueError for a tensor without one."""
    if tensor.encoding is None:
        raise ValueError(f"{tensor.name} has no scale and zero point")
    return tensor.encoding


def bounds(low: float, high: float) -> tuple[int, int]:
    """What an int8 is clipped to."""
    return int(max(low, -128)), int(min(high, 127))
