"""QuantizeLinear and DequantizeLinear: where integers begin and end."""

from __future__ import annotations

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.lower_tables import CODES, clamped, table_values
from qdsl.integer.lower_values import Array, At, Const, Ints, Of, Packed, Pending, RunInts, RunScale, RunZero, Writing
from qdsl.integer.lower_work import Work, dequantized, ends
from qdsl.integer.records import Encoding, Quantize, Table

_SHIFT = 128  # from uint8 to int8


def quantize_linear(work: Work, node: NodeView) -> None:
    scale = work.value(node, 1)
    if isinstance(scale, RunScale):
        work.give(node, _run_time(work, node, scale))
        return
    encoding, unsigned = encoding_of(work, node)
    work.give(node, Ints(_codes(work, node, encoding), encoding, unsigned))


def _codes(work: Work, node: NodeView, encoding: Encoding) -> At:
    """Where the integers of a QuantizeLinear lie; two that say the same of one tensor are one."""
    same = dequantized(work.value(node, 0))
    if same is not None and same.encoding == encoding:
        return same.at
    key = (node.inputs[0], encoding)
    if key not in work.quantized:
        work.quantized[key] = _made(work, node, encoding)
    return work.quantized[key]


def _made(work: Work, node: NodeView, encoding: Encoding) -> At:
    value, name = work.value(node, 0), node.outputs[0]
    if isinstance(value, Pending) and value.ints is not None and _only_quantized(work, node.inputs[0]):
        return _fused(work, node, value, encoding)
    if isinstance(value, Of):
        values = table_values(value.steps, value.encoding, encoding)
        if value.encoding == encoding and np.array_equal(values, CODES):
            return value.at
        first, *others = (*(step.node for step in value.steps), node.name)
        return look_up(work, value.at, values, Writing(name, tuple(others)), first, encoding)
    at = work.graph.ready(work.floats(node, 0), node.name)
    made = work.graph.tensor(name, at.shape, at.axes, "int8", encoding)
    work.graph.add(Quantize(node.name, (at.name,), made.name))
    return made


def _only_quantized(work: Work, tensor: str) -> bool:
    """Whether nothing but QuantizeLinear nodes that all say the same reads a tensor."""
    readers = work.view.users(tensor)
    alone = not work.view.is_open(tensor) and all(node.op == "QuantizeLinear" for node in readers)
    return alone and len({encoding_of(work, node) for node in readers}) == 1


def _fused(work: Work, node: NodeView, value: Pending, encoding: Encoding) -> At:
    """The operator before a QuantizeLinear, writing integers; what it cannot cut off itself is cut off by a table."""
    assert value.ints is not None
    low, high = ends(value.bounds, encoding)
    fused = (*value.fused, node.name)
    if value.cuts[0] or (low, high) == (-128, 127):
        return value.ints(encoding, Writing(node.outputs[0], fused, low, high))
    at = value.ints(encoding, Writing(work.graph.spare(f"{node.outputs[0]}_before"), (node.name,)))
    return look_up(work, at, clamped(low, high), Writing(node.outputs[0], value.fused[1:]), value.fused[0], encoding)


def look_up(work: Work, at: At, values: Array, writing: Writing, node: str, encoding: Encoding) -> At:
    """A table over where `at` lies. What is only under another shape is looked up where it was."""
    if at.within is not None:
        inner = look_up(work, at.within, values, writing, node, encoding)
        return work.graph.reshaped(inner, at.shape, node)
    at = work.graph.ready(at, node)
    made = work.graph.tensor(writing.name, at.shape, at.axes, "int8", encoding)
    work.graph.add(Table(node, (at.name,), made.name, values=values, fused=writing.fused))
    return made


def _run_time(work: Work, node: NodeView, scale: RunScale) -> RunInts:
    """uint8 by DynamicQuantizeLinear, or the same less 128 by a QuantizeLinear with its scale: the same integers."""
    zero = work.value(node, 2) if work.has(node, 2) else None
    source = work.measured.get(scale.encoding)
    fits = isinstance(zero, RunZero) and zero.encoding == scale.encoding and zero.less in (0, _SHIFT)
    if source is None or not fits or source[0] != node.inputs[0]:
        raise work.no(node, "its scale is found at run time, and not by a DynamicQuantizeLinear of the same tensor")
    return RunInts(source[1], scale.encoding)


def dequantize_linear(work: Work, node: NodeView) -> None:
    value = work.value(node, 0)
    if isinstance(value, Const):
        work.give(node, packed(work, node, value.array))
        return
    if not isinstance(value, Ints):
        raise work.no(node, "what it reads are no 8-bit integers of a known scale")
    encoding, unsigned = encoding_of(work, node)
    if unsigned != value.unsigned:
        raise work.no(node, "its zero point is of another type than the integers that it reads")
    work.give(node, Of(work.graph.told(value.at, encoding, node.name), encoding))


def packed(work: Work, node: NodeView, array: Array) -> Packed:
    """A stored constant behind a DequantizeLinear."""
    if array.dtype not in (np.int8, np.uint8, np.int32):
        raise work.no(node, f"the constant that it reads is {array.dtype}, not int8, uint8 or int32")
    kind = work.view.tensors[node.inputs[0]].dtype
    if kind not in ("int8", "uint8", "int32"):
        raise work.no(node, f"{kind} constants have no kernel here")
    scale, zero, axis = _parameters(work, node, array.ndim)
    if scale.size > 1 and scale.size != array.shape[axis]:
        raise work.no(node, f"{scale.size} scales for {array.shape[axis]} places along axis {axis}")
    shape = [1] * array.ndim
    if zero.size > 1:
        shape[axis] = -1
    integers = array.astype(np.int64) - zero.astype(np.int64).reshape(shape)
    one = int(zero.reshape(-1)[0]) if zero.size == 1 else 0
    return Packed(integers, scale, axis, one - _SHIFT if array.dtype == np.uint8 else one)


def encoding_of(work: Work, node: NodeView) -> tuple[Encoding, bool]:
    """What a Q or DQ of activations says, as of int8, and whether the file means uint8."""
    kind = _kind(work, node)
    if kind not in ("int8", "uint8"):
        raise work.no(node, f"{kind} activations have no kernel here: int8 and uint8 have")
    scale, zero, _ = _parameters(work, node, 0)
    if scale.size != 1 or zero.size != 1:
        raise work.no(node, "activations with a scale per channel have no kernel here: one scale per tensor has")
    one = int(zero.reshape(-1)[0])
    return Encoding(float(scale[0]), one - _SHIFT if kind == "uint8" else one), kind == "uint8"


def _kind(work: Work, node: NodeView) -> str:
    integers = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
    found = work.view.tensors.get(integers)
    zero = work.constant(node, 2)
    known = found.dtype if found is not None else None
    return known or (str(zero.dtype) if zero is not None else "uint8")


def _parameters(work: Work, node: NodeView, rank: int) -> tuple[Array, Array, int]:
    """Scale (float32) and zero point, each [1] or [n], and the axis that they run along."""
    if node.attrs.get("block_size"):
        raise work.no(node, "scales per block have no kernel here")
    scale, zero = work.constant(node, 1), work.constant(node, 2)
    assert scale is not None
    if scale.dtype != np.float32:
        raise work.no(node, f"its scale is {scale.dtype}, not float32")
    if not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        raise work.no(node, "its scale is not above 0")
    axis = node.attrs.get("axis", 1)
    assert isinstance(axis, int)
    return _single(scale), np.zeros(1, np.int8) if zero is None else _single(zero), axis % max(rank, 1)


def _single(array: Array) -> Array:
    """[1] where all are one, else [n]."""
    flat = array.reshape(-1)
    return flat[:1] if flat.size and np.all(flat == flat[0]) else flat
