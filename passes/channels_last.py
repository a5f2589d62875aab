"""Decode with channels last: what YOLOv8 joins over channels, flattens, joins over levels and parts again goes part by
part, behind Transposes.

    split(concat([reshape(concat([box_k, score_k], axis=1), [N, C, -1]) for each level k], axis=2), axis=1)

becomes, for boxes and scores each,

    transpose(concat([reshape(transpose(box_k, [0, 2, 3, 1]), [N, -1, c]) for each level k], axis=1), [0, 2, 1])

The same floats: the channel Concats and the Split, which undo one another, are gone, and ONNX Runtime's integer
convolutions, which write channels last, need no Transpose behind them: it cancels against the first ones here. Where
boxes are averages over distances (as `softmax_last` leaves them: Reshape, Transpose, Softmax, MatMul, Reshape), those
go over channels last, too, and their Transpose moves behind them.
Fires from opset 13 on and only where all box_k and score_k are outputs of DequantizeLinear, uint8 from convolutions:
behind one in float, whose channels come first, there is nothing to gain, and where a Transpose reads dequantized int8
ONNX Runtime 1.32 loads no opset 21. A lowering for nodes that the plan leaves in float, run after the plan was carried
out.
Refuses shapes that are not fixed, a Split that does not part what was joined, other uses of what stands between, and
results that are quantized again: the runtime would join in integers.
Guarantees the same values, bit for bit, under the same names from the end of each part on. Nodes that go on keep their
names; those that give way are named, under `qdsl.replaces`, by what stands for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.constants import lazy_of
from qdsl.graph.dtypes import type_name
from qdsl.graph.edit import (
    add_constant,
    add_node,
    add_variable,
    become,
    exchange_outputs,
    fresh_tensor_name,
    remove_node,
    rename_tensor,
    replace_input,
    set_attr,
)
from qdsl.graph.model import Model
from qdsl.graph.walk import chain, inner, only_reader, writer
from qdsl.passes.keep_weights import MOVES
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import REPLACES_KEY, by_pass, mark
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch

_FIRST_OPSET = 13  # before, Split had its sizes in an attribute
_FLAT = 3  # dims of a level once it is flat: batch, channels, places
_AVERAGE = ("Reshape", "Transpose", "Softmax", "MatMul", "Reshape")
_DISTANCES_LAST = (0, 1, 3, 2)
Shape = tuple[int, ...]


class _Level(NamedTuple):
    join: gs.Node
    flatten: gs.Node


class _Head(NamedTuple):
    """`together` joins the levels; None where there is one and no such node."""

    levels: tuple[_Level, ...]
    together: gs.Node | None
    split: gs.Node

    def nodes(self) -> list[gs.Node]:
        together = [] if self.together is None else [self.together]
        return [*(node for level in self.levels for node in level), *together, self.split]


class _Average(NamedTuple):
    """What averages over distances: the shape [batch, sides, distances, places] that `apart` gives, and the nodes."""

    shape: Shape
    apart: gs.Node
    transpose: gs.Node
    softmax: gs.Node
    sums: gs.Node
    back: gs.Node


class _Part(NamedTuple):
    """What the Split gives to one of its outputs: `tensor`, of `shape` [batch, channels, places]."""

    tensor: gs.Tensor
    shape: Shape
    average: _Average | None


@dataclass(frozen=True, slots=True)
class ChannelsLast(Lowering):
    """No options."""

    name: ClassVar[str] = "channels_last"
    summary: ClassVar[str] = "decode what integer convolutions say of boxes and scores with channels last"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for head, parts in _matches(model, changes):
            _rewrite(model, head, parts)
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        changes = Changes()
        for head, parts in _matches(sketch, changes):
            _draw(sketch, head, parts)
        return Foresight(changes.outcome())


def _matches(model: Looked, changes: Changes) -> Iterator[tuple[_Head, list[_Part]]]:
    """Each head to rewrite, with what its Split parts; notes that it fires, and what is left alone."""
    for node in model.nodes():
        head = _head(model, node)
        if head is None:
            continue
        parts = _parts(model, head)
        if isinstance(parts, str):
            changes.refuse(node.name, parts)
            continue
        changes.fire(ChannelsLast.name, [one.name for one in head.nodes()])
        yield head, parts


def _head(model: Looked, split: gs.Node) -> _Head | None:
    """The nodes that end in `split`; None for another pattern."""
    if not is_op(split, "Split") or model.opset < _FIRST_OPSET or split.attrs.get("axis", 0) not in (1, 1 - _FLAT):
        return None
    before = writer(split.inputs[0])
    together = before if _joins(before, 2, _FLAT) else None
    levels = []
    for flatten in [before] if together is None else map(writer, together.inputs):
        join = writer(flatten.inputs[0]) if flatten is not None and is_op(flatten, "Reshape") else None
        if join is None or not _joins(join, 1, len(join.inputs[0].shape or ())):
            return None
        levels.append(_Level(join, flatten))
    return _Head(tuple(levels), together, split)


def _joins(node: gs.Node | None, axis: int, rank: int) -> bool:
    """Whether a node is a Concat along `axis` of tensors of so many dims."""
    return node is not None and is_op(node, "Concat") and node.attrs.get("axis") in (axis, axis - rank)


def _parts(model: Looked, head: _Head) -> list[_Part] | str:
    """What the Split parts, or why the head is left alone."""
    if not all(inner(model, node.outputs[0]) for node in head.nodes()[:-1]):
        return "a tensor of the chain has another use"
    levels = [[_fixed(tensor) for tensor in level.join.inputs] for level in head.levels]
    if any(len(shape) < _FLAT for shapes in levels for shape in shapes):
        return "a shape is not fixed"
    if not all(_flattens(level.flatten, shapes) for level, shapes in zip(head.levels, levels, strict=True)):
        return "a Reshape does more than flatten what was joined"
    sizes = _sizes(head.split, sum(shape[1] for shape in levels[0]))
    if any([shape[1] for shape in shapes] != sizes for shapes in levels):
        return "the Split does not part what was joined"
    if not all(_from_integers(model, tensor) for level in head.levels for tensor in level.join.inputs):
        return "what is joined comes from no integer convolution, or has another use"
    places = sum(prod(shapes[0][2:]) for shapes in levels)
    batch = levels[0][0][0]
    parts = [_part(model, part, (batch, size, places)) for part, size in zip(head.split.outputs, sizes, strict=True)]
    return "a result is quantized again" if any(_quantized_behind(part) for part in parts) else parts


def _fixed(tensor: gs.Tensor) -> Shape:
    """The shape of a tensor whose dims are all known, none of them 0; else ()."""
    shape = tuple(tensor.shape or ())
    return shape if all(isinstance(dim, int) and dim > 0 for dim in shape) else ()


def _flattens(reshape: gs.Node, shapes: Sequence[Shape]) -> bool:
    """Whether a Reshape keeps batch and channels of what was joined, and makes one dim of the others."""
    batch, _, *map_size = shapes[0]
    channels = sum(shape[1] for shape in shapes)
    return _reshaped(reshape, (batch, channels, *map_size)) == (batch, channels, prod(map_size))


def _reshaped(reshape: gs.Node, shape: Shape) -> Shape:
    """The shape that a Reshape gives to a tensor of `shape`; () where it is not known."""
    if not isinstance(reshape.inputs[1], gs.Constant):
        return ()
    dims = [int(dim) for dim in lazy_of(reshape.inputs[1]).load()]
    if 0 in dims[len(shape) :] or (0 in dims and reshape.attrs.get("allowzero", 0)):
        return ()
    dims = [dim or shape[i] for i, dim in enumerate(dims)]
    rest = prod(shape) // prod(dim for dim in dims if dim > 0)
    return tuple(dim if dim > 0 else rest for dim in dims)


def _sizes(split: gs.Node, channels: int) -> list[int]:
    """How many of so many channels a Split gives to each output; [] where it is not known."""
    count = sum(1 for tensor in split.outputs if tensor.name)
    if len(split.inputs) > 1:
        known = isinstance(split.inputs[1], gs.Constant)
        sizes = [int(size) for size in lazy_of(split.inputs[1]).load()] if known else []
    else:
        sizes = [channels // count] * count
    return sizes if len(sizes) == len(split.outputs) and sum(sizes) == channels else []


def _from_integers(model: Looked, tensor: gs.Tensor) -> bool:
    """Whether a convolution in integers writes a tensor, as uint8 of one scale, for one reader alone."""
    found = chain(model, tensor, "Conv", "QuantizeLinear", "DequantizeLinear")
    if found is None or not all(inner(model, node.outputs[0]) for node in found):
        return False
    conv, _, pair = found
    zero = lazy_of(pair.inputs[2]) if len(pair.inputs) == 3 and isinstance(pair.inputs[2], gs.Constant) else None
    if zero is None or zero.shape != () or type_name(zero.element_type) != "uint8":
        return False
    return all(before is not None and before.op == "DequantizeLinear" for before in map(writer, conv.inputs[:2]))


def _part(model: Looked, tensor: gs.Tensor, shape: Shape) -> _Part:
    return _Part(tensor, shape, _average(model, tensor, shape))


def _average(model: Looked, part: gs.Tensor, shape: Shape) -> _Average | None:
    """What averages a part of `shape` over distances; None where something else follows it."""
    tensor, found = part, []
    for op in _AVERAGE:
        reader = only_reader(model, tensor)
        if reader is None or not is_op(reader, op) or reader.inputs[0] is not tensor:
            return None
        found.append(reader)
        tensor = reader.outputs[0]
    apart, transpose, softmax, sums, back = found
    batch, _, places = shape
    split = _reshaped(apart, shape)
    if len(split) != len(_DISTANCES_LAST) or (split[0], split[3]) != (batch, places):
        return None
    _, sides, distances, _ = split
    if tuple(transpose.attrs.get("perm") or ()) != _DISTANCES_LAST or softmax.attrs.get("axis", -1) not in (-1, 3):
        return None
    if not isinstance(sums.inputs[1], gs.Constant) or lazy_of(sums.inputs[1]).shape != (distances, 1):
        return None
    if _reshaped(back, (batch, sides, places, 1)) != (batch, sides, places):
        return None
    return _Average(split, apart, transpose, softmax, sums, back)


def _quantized_behind(part: _Part) -> bool:
    """Whether the end of a part goes to a QuantizeLinear, past what the runtime moves one over."""
    tensors = [part.tensor if part.average is None else part.average.back.outputs[0]]
    seen: set[int] = set()
    while tensors:
        for reader in tensors.pop().outputs:
            if reader.op == "QuantizeLinear":
                return True
            if is_op(reader, *MOVES) and id(reader) not in seen:
                seen.add(id(reader))
                tensors.append(reader.outputs[0])
    return False


def _draw(sketch: Sketch, head: _Head, parts: Sequence[_Part]) -> None:
    """What the lowerings behind this one look at: what gives way is gone, and where there is one level nothing
    but moves stands between the integers and what reads a part."""
    for node in head.nodes():
        if node is not head.together:
            sketch.remove(node)
    for level in head.levels:
        rows = [sketch.add("Transpose", [tensor], "float32") for tensor in level.join.inputs]
        for part, row in zip(parts, rows, strict=True):
            if head.together is None and part.average is None:
                part.tensor.inputs[:] = row.inputs


def _rewrite(model: Model, head: _Head, parts: Sequence[_Part]) -> None:
    joined = [list(level.join.inputs) for level in head.levels]
    for node in head.nodes():
        if node is not head.together:
            remove_node(model, node)
    for i, part in enumerate(parts):
        levels = [_rows(model, level, maps[i], i) for level, maps in zip(head.levels, joined, strict=True)]
        rows = _together(model, head.together, levels, i, part)
        if part.average is None:
            name, back = f"{head.split.name}_back_{i}", {"perm": [0, 2, 1]}
            told = by_pass(ChannelsLast.name, head.split.name)
            add_node(model, "Transpose", [rows], [part.tensor], name=name, attrs=back, metadata=told)
        else:
            _average_rows(model, part.average, rows)
            mark(part.average.transpose, {REPLACES_KEY: head.split.name})


def _rows(model: Model, level: _Level, tensor: gs.Tensor, i: int) -> gs.Variable:
    """Part `i` of a level as one row of channels per place."""
    batch, channels, *map_size = tensor.shape
    order = [0, *range(2, len(tensor.shape)), 1]
    name = f"{level.join.name}_rows_{i}"
    last = _written(model, "Transpose", [tensor], name, (batch, *map_size, channels), level.join, perm=order)
    name = f"{level.flatten.name}_rows_{i}"
    dims = add_constant(model, f"{name}_shape", np.array([batch, -1, channels], np.int64))
    return _written(model, "Reshape", [last, dims], name, (batch, prod(map_size), channels), level.flatten)


def _together(model: Model, concat: gs.Node | None, levels: list[gs.Variable], i: int, part: _Part) -> gs.Variable:
    """The rows of all levels; those of the first part are joined by what joined the levels."""
    if concat is None:
        return levels[0]
    batch, channels, places = part.shape
    if i:
        name = f"{concat.name}_rows_{i}"
        return _written(model, "Concat", levels, name, (batch, places, channels), concat, axis=1)
    become(model, concat, "Concat", levels, {"axis": 1})
    return _changed(model, concat, (batch, places, channels))


def _average_rows(model: Model, average: _Average, rows: gs.Variable) -> None:
    """Let the average go over rows of channels, and its Transpose bring places back to the end."""
    shape, apart, transpose, softmax, sums, back = average
    batch, sides, distances, places = shape
    replace_input(model, apart, 0, rows)
    replace_input(model, softmax, 0, apart.outputs[0])
    exchange_outputs(model, transpose, back)
    replace_input(model, transpose, 0, back.outputs[0])
    set_attr(transpose, "perm", [0, 2, 1])
    mark(transpose, by_pass(ChannelsLast.name))
    dims = (batch, places, sides, distances)
    for node, now in ((apart, dims), (softmax, dims), (sums, (*dims[:3], 1)), (back, dims[:3])):
        if node.op == "Reshape":
            named = f"{node.inputs[1].name}_rows"
            replace_input(model, node, 1, add_constant(model, named, np.array(now, np.int64)))
        _changed(model, node, now)


def _written(
    model: Model, op: str, inputs: Sequence[gs.Tensor], name: str, shape: Shape, old: gs.Node, **attrs: object
) -> gs.Variable:
    """What a new node writes that stands for `old`."""
    made = add_variable(model, f"{name}_output", inputs[0].dtype, shape)
    told = by_pass(ChannelsLast.name, old.name)
    add_node(model, op, inputs, [made], name=name, attrs=attrs, metadata=told)
    return made


def _changed(model: Model, node: gs.Node, shape: Shape) -> gs.Variable:
    """What a node writes, now in another order and of another name."""
    written: gs.Variable = node.outputs[0]
    rename_tensor(model, written, fresh_tensor_name(model, f"{written.name}_rows"))
    written.shape = shape
    mark(node, by_pass(ChannelsLast.name))
    return written
