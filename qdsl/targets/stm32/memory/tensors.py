"""Tensors as bytes, and which of them are the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from qdsl.integer.records import Dtype, DynamicQuantize, IntegerGraph, Op, Reshape, Tensor
from qdsl.targets.stm32.c.records import Call

_BYTES: Mapping[Dtype, int] = {"int8": 1, "uint8": 1, "int32": 4, "int64": 8, "float32": 4}


def size_of(tensor: Tensor) -> int:
    """In bytes."""
    return prod(tensor.shape) * _BYTES[tensor.dtype]


def row_of(tensor: Tensor) -> int:
    """Bytes of one row of [1, H, W, C]."""
    return prod(tensor.shape[2:]) * _BYTES[tensor.dtype]


def align_of(tensor: Tensor) -> int:
    return max(4, _BYTES[tensor.dtype])


def roots(graph: IntegerGraph) -> dict[str, str]:
    """Of each tensor that is no constant, the one whose bytes it is: its own, or those that were reshaped."""
    found = {name: name for name in graph.inputs}
    for op in graph.ops:
        for name in written(op):
            found[name] = name
        if isinstance(op, Reshape) and op.inputs[0] in found:
            found[op.output] = found[op.inputs[0]]
    return found


def computing(graph: IntegerGraph, calls: Iterable[Call]) -> tuple[Call, ...]:
    """The calls that do anything: a tensor that is reshaped is the same bytes, unless they are a constant's."""
    root = roots(graph)
    return tuple(call for call in calls if root[call.op.output] == call.op.output)


def written(op: Op) -> tuple[str, ...]:
    return (op.output, op.encoding) if isinstance(op, DynamicQuantize) else (op.output,)
