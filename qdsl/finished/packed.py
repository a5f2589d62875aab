"""Weights of operators that hold several integers in a byte: MatMulNBits and its kin."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qdsl.finished.parameters import keyed
from qdsl.finished.records import Fault, Form, Parameters, QuantizedTensor, Role
from qdsl.finished.work import Work
from qdsl.graph.constants import Array, from_raw
from qdsl.graph.dtypes import type_number
from qdsl.graph.view import NodeView
from qdsl.spec import Granularity
from qdsl.spec.plan import Reader

PACKED = frozenset({"MatMulNBits", "GatherBlockQuantized", "MatMulBnb4", "MatMulFpQ4", "QMoE"})
_WIDTHS = (2, 4, 8)
_CODES = ("fp4", "nf4")  # of MatMulBnb4: tables of values, no steps
_EXPERTS = ((2, 3, 11), (5, 6, 12), (8, 9, 13))  # of QMoE: weight, scale, zero point


@dataclass(frozen=True, slots=True)
class Blob:
    """One packed weight: its ports, the type of its integers, and the axis and length of its blocks. `rows` is the
    shape that its scales have, one row for each row of the weight, None where the file's own shape says it."""

    data: int
    scale: int
    zero: int
    element: str
    axis: int | None
    block: int | None
    rows: tuple[int, int] | None = None


def read_packed(work: Work, node: NodeView) -> None:
    """The weights of one such operator."""
    for blob in _blobs(work, node):
        tensor = _port(node, blob.data)
        if not tensor:
            continue
        scale = _scale(work, node, blob)
        zero = _zero_point(work, node, blob)
        made = Parameters(
            element=blob.element,
            scale_element=work.dtype(_port(node, blob.scale)) or "float32",
            granularity=Granularity.PER_BLOCK if blob.block else Granularity.PER_CHANNEL,
            scale=scale,
            zero_point=zero,
            zero_written=bool(_port(node, blob.zero)),
            key="",
            axis=blob.axis,
            block=blob.block,
        )
        unread = scale is None or (made.zero_written and zero is None)
        work.add(
            node.index,
            QuantizedTensor(
                tensor=tensor,
                role=Role.WEIGHT,
                form=Form.OPERATOR,
                parameters=keyed(made, f"{node.name}\0{blob.data}" if unread else ""),
                readers=(Reader(node.name, blob.data),),
                stored=work.fixed.root(tensor) if tensor in work.fixed else "",
                origin=work.origin(node.name),
            ),
        )


def _blobs(work: Work, node: NodeView) -> list[Blob]:
    bits, block = _number(node, "bits", 4), _number(node, "block_size", 0)
    if node.op == "MatMulNBits":
        rows, inner = _number(node, "N", 0), _number(node, "K", 0)
        blocks = -(-inner // block) if block > 0 else 0
        return [Blob(1, 2, 3, _packed_element(node, bits, 3), 1, block, (rows, blocks))]
    if node.op == "GatherBlockQuantized":
        shape, axis = work.shape(node.inputs[0]), _number(node, "quantize_axis", 1)
        held = work.dtype(node.inputs[0]) or "uint4"
        element = _packed_element(node, bits, 3) if held == "uint8" else held
        axis = axis + len(shape) if axis < 0 and shape is not None else axis
        return [Blob(0, 2, 3, element, axis, block or 128)]
    if node.op == "MatMulBnb4":
        kind = _number(node, "quant_type", 1)
        return [Blob(1, 2, -1, _CODES[kind] if kind in (0, 1) else "nf4", None, block)]
    if node.op == "MatMulFpQ4":
        return [Blob(1, -1, -1, "int4", 0, 64 if _number(node, "blk_quant_type", 1) == 2 else 32)]
    return [
        Blob(data, scale, zero, _packed_element(node, _number(node, "expert_weight_bits", 4), zero), 2, block or None)
        for data, scale, zero in _EXPERTS
    ]


def _packed_element(node: NodeView, bits: int, zero: int) -> str:
    """Unsigned integers that stand around the middle where no zero point is written: those are signed ones."""
    width = next((width for width in _WIDTHS if bits <= width), 8)
    return f"uint{width}" if _port(node, zero) else f"int{width}"


def _scale(work: Work, node: NodeView, blob: Blob) -> Array | None:
    name = _port(node, blob.scale)
    value = work.fixed.value(name) if name else None
    if value is None or blob.rows is None:
        return value
    if min(blob.rows) > 0 and value.size == prod(blob.rows):
        return value.reshape(blob.rows)
    _tell(work, node, blob, f"{value.size} scales; {blob.rows[0]} x {blob.rows[1]} blocks need {prod(blob.rows)}")
    return value


def _zero_point(work: Work, node: NodeView, blob: Blob) -> Array | None:
    name = _port(node, blob.zero)
    value = work.fixed.value(name) if name else None
    if value is None or blob.rows is None or value.dtype != np.uint8:
        return value
    width = int(blob.element.removeprefix("uint"))
    rows, blocks = blob.rows
    held = -(-blocks * width // 8)
    if min(blob.rows) <= 0 or value.size != rows * held:
        _tell(work, node, blob, f"{value.size} bytes of zero points; {rows} x {blocks} blocks need {rows * held}")
        return value
    whole = from_raw(value.tobytes(), type_number(blob.element), (rows, held * 8 // width))
    return np.ascontiguousarray(whole[:, :blocks])


def _tell(work: Work, node: NodeView, blob: Blob, message: str) -> None:
    tensor = _port(node, blob.data)
    work.faults.setdefault(("block_count", tensor), Fault("block_count", node.name, tensor, message))


def _number(node: NodeView, name: str, otherwise: int) -> int:
    found = node.attrs.get(name, otherwise)
    return found if isinstance(found, int) else otherwise


def _port(node: NodeView, port: int) -> str:
    return node.inputs[port] if 0 <= port < len(node.inputs) else ""
