"""Scale, zero point, axis and blocks of a node, read by value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from qdsl.finished.fixed import Fixed
from qdsl.finished.records import Parameters
from qdsl.graph.constants import Array
from qdsl.graph.view import Dim, GraphView
from qdsl.spec import Granularity

_DEFAULT_AXIS = 1
_WORDS = 9  # of a key, before the names of what is computed


@dataclass(frozen=True, slots=True)
class Written:
    """What a node writes of a quantization. `element` is the type of its integers, `shape` that of the tensor they
    stand for, None where it is not known; `scale` and `zero` are names of tensors, "" for one that is not there; `axis`
    and `block` are as written, `block` 0 where there are no blocks."""

    element: str
    scale: str
    zero: str = ""
    axis: int = _DEFAULT_AXIS
    block: int = 0
    shape: tuple[Dim, ...] | None = None


def read_parameters(written: Written, view: GraphView, fixed: Fixed) -> Parameters:
    """What `written` says, by value as far as the values are in the file."""
    scale, zero = _some(fixed.value(written.scale)), _some(fixed.value(written.zero)) if written.zero else None
    seen = view.tensors.get(written.scale)
    shape = scale.shape if scale is not None else seen.shape if seen is not None else None
    kind = granularity(shape, written.block)
    axis = None if kind is Granularity.PER_TENSOR else counted(written.axis, written.shape)
    made = Parameters(
        element=written.element,
        scale_element=(seen.dtype if seen is not None else None) or "float32",
        granularity=kind,
        scale=scale,
        zero_point=zero,
        zero_written=bool(written.zero),
        key="",
        axis=axis,
        block=written.block if kind is Granularity.PER_BLOCK else None,
    )
    computed = written.scale if scale is None else ""
    moving = written.zero if written.zero and zero is None else ""
    return keyed(made, f"{computed}\0{moving}" if computed or moving else "")


def _some(values: Array | None) -> Array | None:
    """What holds no number says nothing: it is told as a fault (`scale_length`), and known no further."""
    return None if values is None or not values.size else values


def granularity(shape: tuple[Dim, ...] | None, block: int) -> Granularity:
    """What a scale of that shape means. One number is one scale, whatever its rank."""
    if block and shape is not None and len(shape) > 0:
        return Granularity.PER_BLOCK
    one = not shape or all(dim == 1 for dim in shape)
    return Granularity.PER_TENSOR if one else Granularity.PER_CHANNEL


def counted(axis: int, shape: tuple[Dim, ...] | None) -> int | None:
    """`axis` counted from 0; None where it counts from the end of a tensor of unknown rank."""
    if axis >= 0:
        return axis
    return axis + len(shape) if shape is not None and axis + len(shape) >= 0 else None


def keyed(made: Parameters, computed: str = "") -> Parameters:
    """`made` with its key. `computed` names what is only known while the model runs: it is equal to itself alone."""
    digest = blake2b(b"" if made.scale is None else _bytes(made.scale), digest_size=12)
    digest.update(_bytes(_spread_zeros(made)))
    blocks = () if made.scale is None or made.granularity is not Granularity.PER_BLOCK else made.scale.shape
    words = (
        made.element,
        made.scale_element,
        made.granularity.value,
        *(str(each) for each in (made.axis, made.block, made.low, made.high)),
        "x".join(str(dim) for dim in blocks),
        digest.hexdigest(),
        computed,
    )
    return replace(made, key=":".join(words))


def zeros(made: Parameters) -> Array:
    """The zero point, 0 where none is written, in a type that holds it whatever its own."""
    found = np.zeros((), np.int64) if made.zero_point is None else made.zero_point
    floats = _is_float(made.element) or found.dtype.kind not in "iub"
    return np.asarray(found, np.float64 if floats else np.int64)


def _is_float(element: str) -> bool:
    return element.startswith(("float", "bfloat"))


def _spread_zeros(made: Parameters) -> Array:
    """One zero point per scale, where one stands for all of them."""
    zero = zeros(made)
    if zero.size != 1 or made.scale is None:
        return zero
    return np.broadcast_to(zero.reshape(()), made.scale.shape)


def _computed(key: str) -> str:
    return key.split(":", _WORDS)[_WORDS]


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def narrowed(made: Parameters, low: int | None, high: int | None) -> Parameters:
    """`made` with the integers that a Clip leaves; as it is where the Clip cuts nothing off."""
    if low is None and high is None:
        return made
    return keyed(replace(made, low=low, high=high), _computed(made.key))


def same_values(one: Parameters, other: Parameters, axis: int | None) -> bool:
    """Whether integers mean the same under both, up to the rounding of a scale to fewer bits. `axis` is that of `one`
    where `other` stands, None where it is not known. Channels that are all alike mean what one scale means."""
    if one.element != other.element:
        return False
    if one.scale is None or other.scale is None:
        return one.scale is other.scale and _computed(one.key) == _computed(other.key)
    if not (_equal(one.scale, other.scale) and _equal(zeros(one), zeros(other))):
        return False
    if _alike(one) and _alike(other):
        return True
    turned = axis is not None and other.axis is not None and axis != other.axis
    return one.granularity is other.granularity and one.scale.size == other.scale.size and not turned


def _alike(made: Parameters) -> bool:
    return made.scale is not None and _uniform(made.scale) and _uniform(zeros(made))


def _uniform(array: Array) -> bool:
    return array.size > 0 and bool((array == array.flat[0]).all())


def _equal(one: Array, other: Array) -> bool:
    if one.size != other.size and not (_uniform(one) and _uniform(other)):
        return False
    narrow = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    first, second = (np.asarray(each.reshape(-1), narrow) for each in (one, other))
    return bool(np.all(first == second)) if first.size == second.size else bool(first[0] == second[0])


def axis_of(attrs: Mapping[str, Any]) -> int:
    """The axis that a node writes, or the one that ONNX means without."""
    found = attrs.get("axis", _DEFAULT_AXIS)
    return found if isinstance(found, int) else _DEFAULT_AXIS


def block_of(attrs: Mapping[str, Any]) -> int:
    """The block size that a node writes; 0 for none."""
    found = attrs.get("block_size", 0)
    return found if isinstance(found, int) and found > 0 else 0
