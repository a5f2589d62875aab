"""Operators of two tensors, and Concat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.lower_functions import stepped
from qdsl.integer.lower_layout import CHANNELS_LAST, Axes, long_axes
from qdsl.integer.lower_values import Array, At, Const, Ints, Of, Packed, Pending, Step, Value, Writing
from qdsl.integer.lower_work import KINDS, Work, dequantized, put
from qdsl.integer.records import Binary, Concat, Encoding

Operand = Of | Packed
_KERNELS = ("Add", "Mul")  # of which a runtime has integer kernels, also for one number


def binary(work: Work, node: NodeView) -> None:
    values = [work.value(node, port) for port in (0, 1)]
    for found in (_bias(work, node, values), _function(work, node, values)):
        if found is not None:
            work.give(node, found)
            return
    integers = [_integer(value) for value in values]
    one, other = integers
    if one is not None and other is not None and (isinstance(one, Of) or isinstance(other, Of)):
        work.give(node, _pending(work, node, one, other))
        return
    work.give(node, Pending(node.name, work.shape(node), None, lambda writing: _in_floats(work, node, writing)))


def _integer(value: Value) -> Operand | None:
    if isinstance(value, Packed):
        return value if value.scale.size == 1 and _as_int8(value) is not None else None
    return dequantized(value)


def _as_int8(value: Packed) -> Array | None:
    codes = np.asarray(value.integers + value.zero)
    return np.asarray(codes, np.int8) if codes.size and codes.min() >= -128 and codes.max() <= 127 else None


def _bias(work: Work, node: NodeView, values: Sequence[Value]) -> Pending | None:
    """A product with a matrix, and the constant vector that is added to it."""
    if node.op != "Add":
        return None
    for port, value in enumerate(values):
        other = values[1 - port]
        if not isinstance(value, Pending) or value.biased is None or not isinstance(other, Const | Packed):
            continue
        found = value.biased(other) if work.only_read_by(node.inputs[port]) else None
        if found is not None:
            return replace(found, fused=(*found.fused, node.name))
    return None


def _function(work: Work, node: NodeView, values: Sequence[Value]) -> Value | None:
    """An operation with one number, or on two functions of the same integers: a function of these."""
    one, other = values
    if isinstance(one, Of) and isinstance(other, Of) and replace(one, steps=()) == replace(other, steps=()):
        both = Of(one.at, one.encoding, (*one.steps, Step(node.name, node.op, other=other.steps)))
        return both if one.steps or other.steps else None
    for port, value in enumerate(values):
        number, other = _number(value), values[1 - port]
        if number is None or isinstance(other, Const | Packed):
            continue
        kernel = node.op in _KERNELS and isinstance(value, Packed) and _integer(value) is not None
        if kernel and dequantized(other) is not None:
            return None
        if isinstance(other, Of) and work.shape(node) == other.at.shape:
            return stepped(work, node, other, Step(node.name, node.op, other=number, first=port == 0))
    return None


def _number(value: Value) -> float | None:
    if isinstance(value, Const) and value.array.size == 1 and value.array.dtype == np.float32:
        return float(value.array.reshape(-1)[0])
    if isinstance(value, Packed) and value.integers.size == 1:
        return float(value.floats().reshape(-1)[0])
    return None


# --- layout ----------------------------------------------------------------------------------------------------------


def together(work: Work, node: NodeView, places: Sequence[At | Array], rank: int) -> tuple[list[At | Array], Axes]:
    """Both sides with `rank` axes, and the order that they are to be stored in: that of the larger one."""
    grown = [_grown(work, place, rank, node) for place in places]
    lying = [place for place in grown if isinstance(place, At)]
    return grown, max(lying, key=lambda at: len(long_axes(at.shape, at.axes))).axes


def _grown(work: Work, place: At | Array, rank: int, node: NodeView) -> At | Array:
    missing = rank - (place.ndim if isinstance(place, np.ndarray) else len(place.shape))
    if isinstance(place, np.ndarray):
        return place.reshape((1,) * missing + place.shape)
    place = work.graph.ready(place, node.name)
    return work.graph.reshaped(place, (1,) * missing + place.shape, node.name)


# --- of two tensors --------------------------------------------------------------------------------------------------


def _pending(work: Work, node: NodeView, one: Operand, other: Operand) -> Pending:
    shape, kind = work.shape(node), KINDS[node.op]

    def ints(encoding: Encoding, writing: Writing) -> At:
        names, axes = _operands(work, node, one, other)
        made = work.graph.tensor(writing.name, shape, axes, "int8", encoding)
        op = Binary(node.name, names, made.name, kind, writing.low, writing.high, fused=writing.fused)
        work.graph.add(op)
        return made

    return Pending(node.name, shape, ints, lambda writing: _in_floats(work, node, writing))


def _operands(work: Work, node: NodeView, one: Operand, other: Operand) -> tuple[tuple[str, str], Axes]:
    rank = len(work.shape(node))
    places = [_codes(one), _codes(other)]
    grown, axes = together(work, node, places, rank)
    names = []
    for value, place, tensor in zip((one, other), grown, node.inputs, strict=True):
        if isinstance(place, At):
            names.append(work.graph.laid(place, axes, node.name).name)
        else:
            assert isinstance(value, Packed)
            encoding = Encoding(float(value.scale[0]), value.zero)
            names.append(work.graph.constant(work.graph.spare(tensor), place, axes, encoding).name)
    return (names[0], names[1]), axes


def _codes(value: Operand) -> At | Array:
    if isinstance(value, Of):
        return value.at
    codes = _as_int8(value)
    assert codes is not None
    return codes


def _in_floats(work: Work, node: NodeView, writing: Writing) -> At:
    values = [work.value(node, port) for port in (0, 1)]
    places = [_array(value) if isinstance(value, Const | Packed) else None for value in values]
    both = [work.floats(node, port) if place is None else place for port, place in enumerate(places)]
    shape = work.shape(node)
    grown, axes = together(work, node, both, len(shape))
    names = []
    for place, tensor in zip(grown, node.inputs, strict=True):
        if isinstance(place, At):
            names.append(work.graph.laid(place, axes, node.name).name)
        else:
            names.append(work.graph.constant(work.graph.spare(tensor), place, axes).name)
    made = work.graph.tensor(writing.name, shape, axes)
    op = Binary(
        node.name, (names[0], names[1]), made.name, KINDS[node.op], writing.low, writing.high, fused=writing.fused
    )
    work.graph.add(op)
    return made


def _array(value: Const | Packed) -> Array:
    return np.asarray(value.array if isinstance(value, Const) else value.floats(), np.float32)


# --- Concat ----------------------------------------------------------------------------------------------------------


def concat(work: Work, node: NodeView) -> None:
    values = [work.value(node, port) for port in range(len(node.inputs))]
    shape = work.shape(node)
    axis = node.attrs.get("axis", 1)
    assert isinstance(axis, int)
    axis %= len(shape)
    if len(values) == 1:
        work.give(node, work.moved(node))
        return
    moved = _one_encoding(values)
    if moved is not None:
        at = _joined(work, node, [value.at for value in moved], axis, Writing(node.outputs[0], ()), moved[0].encoding)
        work.give(node, put(moved[0], at))
        return
    integers = [dequantized(value) for value in values]
    known = [value for value in integers if value is not None]

    def ints(encoding: Encoding, writing: Writing) -> At:
        return _joined(work, node, [value.at for value in known], axis, writing, encoding)

    def floats(writing: Writing) -> At:
        places = [work.floats(node, port) for port in range(len(node.inputs))]
        return _joined(work, node, places, axis, writing, None)

    whole = ints if len(known) == len(values) else None
    work.give(node, Pending(node.name, shape, whole, floats, cuts=(False, False)))


def _one_encoding(values: Sequence[Value]) -> list[Ints] | list[Of] | None:
    """Integers that all stand for values in one way: they are only joined."""
    raw = [value for value in values if isinstance(value, Ints)]
    plain = [value for value in (dequantized(value) for value in values) if value is not None]
    for found in (raw, plain):
        if len(found) == len(values) and len({each.encoding for each in found}) == 1:
            return found
    return None


def _joined(
    work: Work, node: NodeView, places: Sequence[At], axis: int, writing: Writing, encoding: Encoding | None
) -> At:
    shape = work.shape(node)
    ready = [work.graph.ready(place, node.name) for place in places]
    orders = [place.axes for place in ready]
    axes = CHANNELS_LAST if CHANNELS_LAST in orders and len(shape) == 4 else max(set(orders), key=orders.count)
    names = tuple(work.graph.laid(place, axes, node.name).name for place in ready)
    integers = work.graph.tensors[names[0]].dtype == "int8"
    made = work.graph.tensor(writing.name, shape, axes, "int8" if integers else "float32", encoding)
    work.graph.add(Concat(node.name, names, made.name, axes.index(axis), fused=writing.fused))
    return made
