"""What rules ask of the stored weights of a file: each is read once, and a few numbers per channel are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import once_per_audit, standing
from qdsl.finished.codes import codes, scales, zeros
from qdsl.finished.records import QuantizedTensor
from qdsl.graph.neighbours import weighted
from qdsl.graph.view import NodeView
from qdsl.spec import Granularity

Array = NDArray[Any]
_PRODUCTS = frozenset(
    [
        *("Gemm", "MatMul", "FusedGemm", "FusedMatMul", "QGemm", "QLinearMatMul"),
        *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    ]
)
_AT_ONCE = 1 << 20  # elements that are widened at a time
_LARGEST_BIAS = 1 << 20


@dataclass(frozen=True, slots=True)
class Channels:
    """A weight, output channel by output channel. `record` is None where it is stored in floats. `furthest`: how far
    integers lie from the zero point, at most (empty for floats); `below` and `above`: what its negative and its
    positive values add up to; `norm`: the root of the sum of their squares. All of shape [channels]."""

    node: NodeView
    port: int
    record: QuantizedTensor | None
    shape: tuple[int, ...]
    axis: int
    furthest: Array
    below: Array
    above: Array
    norm: Array

    @property
    def depthwise(self) -> bool:
        """Whether each output channel reads one input channel."""
        return len(self.shape) > 2 and self.axis == 0 and self.shape[1] == 1 and self.node.attrs.get("group", 1) != 1


@once_per_audit
def channels(audited: Audited) -> Mapping[str, Channels]:
    """The constant weights of convolutions and products of matrices, by the node that multiplies by them; those in
    blocks are left out. Reads them one at a time."""
    return {each.node.name: each for each in _channels(audited)}


def _channels(audited: Audited) -> Iterator[Channels]:
    view, stands = audited.finished.view, standing(audited)
    for index, weight in weighted(view).items():
        node = view.nodes[index]
        record = stands.read(node, weight.port)
        if record is not None and record.parameters.granularity is Granularity.PER_BLOCK:
            continue
        found = _read(audited, node, weight.port, record)
        axis = None if found is None else channel_axis(node, weight.port, found.ndim)
        if found is not None and axis is not None:
            yield _measured(node, weight.port, record, found, axis)


def _read(audited: Audited, node: NodeView, port: int, record: QuantizedTensor | None) -> Array | None:
    """The integers of a weight, or its floats."""
    if record is not None:
        return codes(audited.finished, record)
    seen = audited.finished.view.tensors[node.inputs[port]]
    plain = seen.kind == "constant" and seen.dtype in ("float32", "float16")
    return audited.finished.model.values(seen.name) if plain else None


def channel_axis(node: NodeView, port: int, rank: int) -> int | None:
    """The axis of a weight that its output channels lie along; None where there is none, or more than one."""
    if node.op.endswith("ConvTranspose"):
        return 1 if node.attrs.get("group", 1) == 1 and rank > 1 else None
    if "Conv" in node.op:
        return 0 if rank > 1 else None
    if rank < 2 or node.op not in _PRODUCTS:
        return None
    right = port != 0
    turned = bool(node.attrs.get("transB" if right else "transA", 0))
    return rank - 1 if right != turned else rank - 2


def _measured(node: NodeView, port: int, record: QuantizedTensor | None, found: Array, axis: int) -> Channels:
    """Widens a part of the channels at a time."""
    shape = found.shape
    parts = _parts(record, shape)
    turned = np.moveaxis(found, axis, 0)
    rows = max(1, _AT_ONCE // max(1, found.size // max(1, shape[axis])))
    sums = [_of_rows(turned[at : at + rows], at, parts, axis) for at in range(0, shape[axis], rows)]
    furthest, below, above, norm = (np.concatenate(each) for each in zip(*sums, strict=True)) if sums else _NOTHING
    return Channels(node, port, record, shape, axis, furthest if record else furthest[:0], below, above, norm)


_NOTHING = (np.zeros(0, np.float32),) * 4
_Parts = tuple[Array | None, Array | None] | None


def _parts(record: QuantizedTensor | None, shape: tuple[int, ...]) -> _Parts:
    """Zero point and scale, to be broadcast over `shape`."""
    if record is None:
        return None
    return zeros(record.parameters, shape), scales(record.parameters, shape)


def _of_rows(rows: Array, at: int, parts: _Parts, axis: int) -> tuple[Array, Array, Array, Array]:
    """Per channel: how far integers are from the zero point, sums of negative and positive values, the norm."""
    values = rows.astype(np.float32)
    furthest = np.zeros(len(values), np.float32)
    if parts is not None:
        zero, scale = (None if each is None else _sliced(each, axis, at, len(rows)) for each in parts)
        values = values - (0 if zero is None else zero)
        furthest = np.abs(values).reshape(len(values), -1).max(axis=1, initial=0)
        values = values * (np.float32(np.nan) if scale is None else scale)
    flat = values.reshape(len(values), -1)
    below, above = np.minimum(flat, 0).sum(axis=1), np.maximum(flat, 0).sum(axis=1)
    return furthest, below, above, np.sqrt(np.einsum("ij,ij->i", flat, flat))


def _sliced(each: Array, axis: int, at: int, count: int) -> Array:
    """The part of a broadcast array that speaks of some output channels."""
    if each.ndim == 0:
        return each
    turned = np.moveaxis(each, axis, 0)
    return turned if turned.shape[0] == 1 else turned[at : at + count]


def bias_values(audited: Audited, node: NodeView, port: int = 2) -> Array | None:
    """The bias of a node as floats; None where it is computed. Without one, 0."""
    if port >= len(node.inputs) or not node.inputs[port]:
        return np.zeros(1, np.float32)
    record = standing(audited).read(node, port)
    if record is None:
        seen = audited.finished.view.tensors[node.inputs[port]]
        small = seen.kind == "constant" and (seen.elements or _LARGEST_BIAS) < _LARGEST_BIAS
        return audited.finished.model.values(seen.name).astype(np.float32) if small else None
    found = _bias_codes(audited, record)
    scale, zero = (
        (None, None)
        if found is None
        else (
            scales(record.parameters, found.shape),
            zeros(record.parameters, found.shape),
        )
    )
    return None if found is None or scale is None or zero is None else (found.astype(np.float32) - zero) * scale


def _bias_codes(audited: Audited, record: QuantizedTensor) -> Array | None:
    return codes(audited.finished, record)
