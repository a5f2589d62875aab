"""What C computed beside what the interpreter computes: the same bits, or floats that were added in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Dequantize, DynamicQuantize, IntegerGraph, Reshape, Slice, Transpose

FLOATS = 1e-5  # of the largest value: what kernels in float32 may round otherwise


@dataclass(frozen=True, slots=True)
class Compared:
    """Of an output: how many values it has, how many have the same bits, and how far apart two are at most, as a share
    of the largest."""

    values: int
    exact: int
    apart: float


def compared(want: NDArray[Any], got: NDArray[Any]) -> Compared:
    """Two arrays of one shape and type."""
    same = (_bits(want) == _bits(got)).all(axis=-1)
    return Compared(want.size, int(same.sum()), _apart(want, got))


def holds(graph: IntegerGraph, want: NDArray[Any], found: Compared) -> bool:
    """Whether C of `graph` may answer so: to the bit, but for floats that it computed in floats."""
    if found.exact == found.values:
        return True
    return want.dtype == np.float32 and _in_floats(graph) and found.apart <= FLOATS


def _in_floats(graph: IntegerGraph) -> bool:
    """Whether something computes in floats: what integers stand for is exact."""
    ops = (op for op in graph.ops if not isinstance(op, Dequantize | Reshape | Transpose | Slice))
    return any(graph.tensors[op.output].dtype == "float32" or isinstance(op, DynamicQuantize) for op in ops)


def _apart(want: NDArray[Any], got: NDArray[Any]) -> float:
    if not want.size:
        return 0.0
    wide, other = want.astype(np.float64), got.astype(np.float64)
    largest = float(np.abs(wide).max())
    off = float(np.abs(wide - other).max())
    return off / largest if largest else off


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    return np.frombuffer(array.tobytes(), np.uint8).reshape(array.size, array.itemsize)
