"""Whether a tensor of a file is what a scheme asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.finished.records import Parameters, QuantizedTensor
from qdsl.quant import QParams
from qdsl.spec import DTYPES, Granularity, Scheme
from qdsl.spec.dtypes import BY_ELEMENT

_SCALES = 1e-6  # relative: scales are float32


def disagreement(scheme: Scheme, record: QuantizedTensor, axis: int | None) -> str:
    """What the file has instead, in words ("int8 symmetric per_tensor"); "" where it agrees. `axis` is the channel axis
    that was decided, None for none. What the file does not show (a zero point that is computed while the model runs)
    is taken as meant."""
    has = record.parameters
    if has.element != scheme.dtype.element:
        return words(has)
    if not scheme.dtype.quantized:
        return ""
    if _granularity(has, scheme) or (scheme.symmetric and not _symmetric(has)):
        return words(has)
    if scheme.granularity is Granularity.PER_CHANNEL and None not in (axis, has.axis) and axis != has.axis:
        return f"{words(has)} along axis {has.axis}, not {axis}"
    if scheme.granularity is Granularity.PER_BLOCK and has.block is not None and scheme.block != has.block:
        return words(has)
    if not record.stored and scheme.emulated_bits and has.low is None:
        return f"{words(has)} with no Clip that keeps to {scheme.emulated_bits} bits"
    return ""


def _granularity(has: Parameters, scheme: Scheme) -> bool:
    """Whether it differs; one scale is one scale, however often and along how many axes it is written."""
    if has.granularity is scheme.granularity or has.scale is None:
        return has.granularity is not scheme.granularity
    single = uniform(has.scale) is not None and (has.zero_point is None or uniform(has.zero_point) is not None)
    return not single or (scheme.granularity is not Granularity.PER_TENSOR and has.scale.size > 1)


def uniform(values: NDArray[Any]) -> float | None:
    """The value that all of them are; None where they are not one."""
    return float(values.reshape(-1)[0]) if values.size and (values == values.reshape(-1)[0]).all() else None


def value_of(has: Parameters) -> str:
    """Equal where integers stand for equal values: as `Parameters.key`, but one scale is one however it is written."""
    scale = None if has.scale is None else uniform(has.scale)
    zero = 0.0 if has.zero_point is None else uniform(has.zero_point)
    if scale is None or zero is None or (has.zero_point is None and has.zero_written):
        return has.key
    return f"{has.element}:{scale!r}:{zero:g}:{has.low}:{has.high}"


def _symmetric(has: Parameters) -> bool:
    """Whether every zero point is the middle of the type."""
    if has.zero_point is None:
        return has.zero_written or has.element not in DTYPES or DTYPES[has.element].signed
    return not (has.zero_point.astype("int64") != _middle(has.element)).any()


def _middle(element: str) -> int:
    found = DTYPES.get(element)
    return 0 if found is None or found.signed else 1 << (found.bits - 1)


def stands_for(wanted: QParams, has: Parameters) -> bool:
    """Whether the file's integers stand for the same values, give or take the last bits of a scale."""
    if has.scale is None or has.scale.size != 1 or (has.zero_point is not None and has.zero_point.size != 1):
        return True  # nothing that could be compared
    zero = 0 if has.zero_point is None else int(has.zero_point.reshape(-1)[0])
    scale = float(has.scale.reshape(-1)[0])
    return zero == int(wanted.zero_point) and abs(scale - float(wanted.scale)) <= _SCALES * float(wanted.scale)


def covers(scale: NDArray[Any], zero: NDArray[Any] | None, element: str) -> str:
    """`[0, 6]`: the values that the integers of one scale reach."""
    kind = BY_ELEMENT[element]
    step, middle = float(np.asarray(scale).reshape(-1)[0]), 0 if zero is None else int(np.asarray(zero).reshape(-1)[0])
    ends = ((end - middle) * step for end in kind.ends)
    return f"[{', '.join(f'{end:.4g}' for end in ends)}]"


def words(has: Parameters) -> str:
    """`uint8 affine per_tensor`: how a file's parameters are called in a recipe."""
    known = BY_ELEMENT.get(has.element)
    told: list[Any] = [has.element if known is None else known.name]
    if known is not None and known.quantized:
        told.append("symmetric" if _symmetric(has) else "affine")
    told.append(has.granularity.value)
    return " ".join([*told, *([str(has.block)] if has.block else [])])
