"""The integers of what a file stores, and the values that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.finished.records import Finished, Parameters, QuantizedTensor
from qdsl.graph.folded import folded
from qdsl.spec import DTYPES, Granularity

Array = NDArray[Any]
_PACKED_BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}


def codes(finished: Finished, tensor: QuantizedTensor) -> Array | None:
    """The integers of a constant tensor, in its shape, as its DequantizeLinear or its operator reads them: those of
    under 8 bits in int8 or uint8. None where an input reaches them, where they are no integers (float8), and where an
    operator packs several into a byte. Read now, and not kept."""
    if not tensor.parameters.element.startswith(("int", "uint")):
        return None
    name = _integers(finished, tensor)
    seen = finished.view.tensors.get(name)
    if seen is None or (tensor.parameters.element in _PACKED_BITS and seen.dtype not in (None, *_PACKED_BITS)):
        return None
    found = finished.model.values(name) if seen.kind == "constant" else folded(finished.model, name)
    return None if found is None or found.dtype.kind not in "iu" else found


def _integers(finished: Finished, tensor: QuantizedTensor) -> str:
    """The name of the integers where they are read; "" where nothing is stored."""
    if not tensor.stored:
        return ""
    if tensor.dequantizers:
        return finished.view.node(tensor.dequantizers[0]).inputs[0]
    return tensor.stored


def zeros(parameters: Parameters, shape: tuple[int, ...]) -> Array | None:
    """The zero point as int32, to be subtracted from integers of `shape`; None where it is computed or does not fit."""
    if parameters.zero_point is None:
        return None if parameters.zero_written else np.zeros((), np.int32)
    return _spread(np.asarray(parameters.zero_point, np.int32), parameters, shape)


def scales(parameters: Parameters, shape: tuple[int, ...]) -> Array | None:
    """The scale as float32, to be multiplied with integers of `shape`; None where it is computed or does not fit."""
    if parameters.scale is None:
        return None
    return _spread(np.asarray(parameters.scale, np.float32), parameters, shape)


def _spread(values: Array, parameters: Parameters, shape: tuple[int, ...]) -> Array | None:
    if values.size == 1:
        return values.reshape(())
    axis = parameters.axis
    if axis is None or axis >= len(shape):
        return None
    if parameters.granularity is Granularity.PER_BLOCK:
        return _blocks(values, axis, parameters.block or 0, shape)
    if values.size != shape[axis]:
        return None
    return values.reshape([-1 if at == axis else 1 for at in range(len(shape))])


def _blocks(values: Array, axis: int, block: int, shape: tuple[int, ...]) -> Array | None:
    fits = tuple(-(-dim // block) if at == axis else dim for at, dim in enumerate(shape)) if block > 0 else ()
    return np.repeat(values, block, axis)[_first(axis, shape)] if values.shape == fits else None


def _first(axis: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(dim if at == axis else None) for at, dim in enumerate(shape))


def span(parameters: Parameters) -> tuple[float, float] | None:
    """The lowest and the highest value that the integers can stand for, with one scale for the whole tensor; None for
    several scales, for what is computed, and for types that are no integers."""
    dtype = DTYPES.get(parameters.element)
    scale, zero = parameters.scale, zeros(parameters, ())
    if dtype is None or not dtype.integer or scale is None or scale.size != 1 or zero is None or zero.size != 1:
        return None
    step, point = float(scale.reshape(())), int(zero.reshape(()))
    lowest = dtype.qmin if parameters.low is None else parameters.low
    highest = dtype.qmax if parameters.high is None else parameters.high
    if lowest is None or highest is None or not np.isfinite(step) or step <= 0:
        return None
    return (lowest - point) * step, (highest - point) * step
