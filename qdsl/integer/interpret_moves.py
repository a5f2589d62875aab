"""What only moves values, integers or floats alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Pad, Reshape, Resize, Slice, Transpose
from qdsl.integer.values import Values

Array = NDArray[Any]


def resize(op: Resize, values: Values) -> Array:
    return values.arrays[op.inputs[0]][:, op.rows][:, :, op.columns]


def pad(op: Pad, values: Values) -> Array:
    return bordered(values.arrays[op.inputs[0]], op, op.value)


def bordered(array: Array, op: Pad, value: float) -> Array:
    return np.pad(array, tuple(zip(op.before, op.after, strict=True)), constant_values=value)


def reshape(op: Reshape, values: Values) -> Array:
    return values.arrays[op.inputs[0]].reshape(values.graph.tensors[op.output].shape)


def transpose(op: Transpose, values: Values) -> Array:
    return np.ascontiguousarray(values.arrays[op.inputs[0]].transpose(op.order))


def sliced(op: Slice, values: Values) -> Array:
    sizes = values.graph.tensors[op.output].shape
    parts = (
        slice(start, start + (size - 1) * step + 1, step)
        for start, step, size in zip(op.starts, op.steps, sizes, strict=True)
    )
    return np.ascontiguousarray(values.arrays[op.inputs[0]][tuple(parts)])
