"""Which tensors hold integers between QuantizeLinear and DequantizeLinear, and which pairs have one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qdsl.graph.dtypes import type_name
from qdsl.graph.moves import MOVES
from qdsl.train.operation import Operation
from qdsl.train.table import CONTRIB

QUANTIZE = ("QuantizeLinear", f"{CONTRIB}:QuantizeLinear")
DEQUANTIZE = ("DequantizeLinear", f"{CONTRIB}:DequantizeLinear")
_DYNAMIC = "DynamicQuantizeLinear"
_SUMS = ("MatMulInteger", "ConvInteger")
# What takes integers as they are carried, although it does more than move them.
TAKES_CARRIED = (*DEQUANTIZE, *_SUMS, "Cast")


@dataclass(frozen=True, slots=True)
class Pairs:
    """`carried`: tensors that hold integers, with their type. `straight`: the operations, by index, through which
    gradients go as they are. `tied`: scales that stand for another one, by name."""

    carried: Mapping[str, str]
    straight: frozenset[int]
    tied: Mapping[str, str]


@dataclass(slots=True)
class _Group:
    """Operations that share integers; `plain` as long as all of them have one scale. `names` are the tensors."""

    operations: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    scales: dict[str, object] = field(default_factory=dict)
    plain: bool = True


def carries(operation: Operation) -> tuple[range, bool]:
    """The input ports whose integers an operation writes unchanged, and whether its first output alone holds them."""
    if operation.domain:
        return range(0), False
    if operation.op == "Clip" or (
        operation.op == "Resize" and operation.attributes.get("mode", "nearest") == "nearest"
    ):
        return range(1), True
    move = MOVES.get(operation.op)
    return (range(0), False) if move is None else (move.data, move.first)


def pairs_of(operations: Sequence[Operation], types: Mapping[str, str | None], scales: Mapping[str, object]) -> Pairs:
    """`types`: the element types of tensors, as far as they are known. `scales`: of a constant scale something that is
    equal where the scales are."""
    carried: dict[str, str] = {}
    group_of: dict[str, _Group] = {}
    groups: list[_Group] = []
    for index, operation in enumerate(operations):
        if operation.kind in QUANTIZE or operation.kind == _DYNAMIC:
            group = _Group()
            groups.append(group)
            _join(group, index, operation, scales)
            carried[operation.outputs[0]] = _written_type(operation, types)
            group_of[operation.outputs[0]] = group
            group.names.append(operation.outputs[0])
        elif operation.kind in DEQUANTIZE:
            if (found := group_of.get(operation.inputs[0])) is not None:
                _join(found, index, operation, scales)
                _check_channels(found, operations, operation)
        else:
            _carry(operation, carried, group_of)
    straight = [group for group in groups if group.plain and len(set(group.scales.values())) == 1]
    tied = {name: next(iter(group.scales)) for group in straight for name in group.scales}
    return Pairs(carried, frozenset(index for group in straight for index in group.operations), tied)


def _join(group: _Group, index: int, operation: Operation, scales: Mapping[str, object]) -> None:
    group.operations.append(index)
    name = operation.outputs[1] if operation.kind == _DYNAMIC and operation.writes(1) else ""
    name = name or (operation.inputs[1] if operation.kind != _DYNAMIC else f"scale of {operation.outputs[0]}")
    group.scales[name] = scales.get(name, name)


def _check_channels(group: _Group, operations: Sequence[Operation], operation: Operation) -> None:
    """Scales of channels or blocks are the same for an element only where nothing moved it in between."""
    writers = {operations[index].outputs[0]: operations[index] for index in group.operations}
    direct = writers.get(operation.inputs[0])
    same = direct is not None and all(
        direct.attributes.get(name) == operation.attributes.get(name) for name in ("axis", "block_size")
    )
    group.plain &= same or all(_of_one(value) for value in group.scales.values())


def _of_one(scale: object) -> bool:
    """Whether a scale is known to be one number."""
    return isinstance(scale, tuple) and scale[0] in ((), (1,))


def _carry(operation: Operation, carried: dict[str, str], group_of: dict[str, _Group]) -> None:
    ports, first = carries(operation)
    read = [name for port, name in enumerate(operation.inputs) if port in ports and name in carried]
    for name in operation.inputs:
        if name in carried and name not in read:  # what is computed of the integers themselves has their unit
            group_of[name].plain = False
    if operation.op in _SUMS and any(name in carried for name in operation.inputs):
        group = _Group(plain=False)
        carried[operation.outputs[0]], group_of[operation.outputs[0]] = "int32", group
    if not read:
        return
    group = group_of[read[0]]
    for name in read[1:]:
        group = _merged(group, group_of[name], group_of)
    for name in operation.outputs[: 1 if first else None]:
        carried[name], group_of[name] = carried[read[0]], group
        group.names.append(name)


def _merged(one: _Group, other: _Group, group_of: dict[str, _Group]) -> _Group:
    """Both as one: the smaller becomes part of the larger, so that many of them stay linear."""
    if one is other:
        return one
    small, large = sorted((one, other), key=lambda group: len(group.names))
    large.operations += small.operations
    large.names += small.names
    large.scales.update(small.scales)
    large.plain &= small.plain
    group_of.update(dict.fromkeys(small.names, large))
    small.operations, small.scales = [], {}
    return large


def _written_type(operation: Operation, types: Mapping[str, str | None]) -> str:
    """uint8 unless a zero point or an attribute says otherwise."""
    if operation.reads(2) and (found := types.get(operation.inputs[2])) is not None:
        return found
    return type_name(int(operation.attributes.get("output_dtype", 0))) or "uint8"
