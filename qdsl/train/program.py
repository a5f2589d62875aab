"""A model as a list of operations: what runs, what is constant, and when a tensor is no longer needed. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import ModelProto

from qdsl.graph import Model, from_proto
from qdsl.graph.constants import Held, Lazy, lazy_of
from qdsl.graph.dtypes import number_of, type_name
from qdsl.train.operation import Operation, operation_of
from qdsl.train.pairs import DEQUANTIZE, QUANTIZE, Pairs, pairs_of


@dataclass(frozen=True, slots=True)
class Program:
    """`operations` in topological order; `constants` by name, not read yet, those of Constant nodes among them;
    `types` the element type of each tensor as far as it is known. `batch` is the first dimension that all inputs
    declare, None where it is free or not the same, `firsts` those of all tensors; `varying` are the tensors that are
    computed of the inputs' values."""

    operations: tuple[Operation, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Lazy]
    types: Mapping[str, str | None]
    pairs: Pairs
    batch: int | None
    firsts: Mapping[str, int]
    varying: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a schedule, by its index; `gone` are tensors that nothing reads after it."""

    operation: int
    gone: tuple[str, ...]


def program_of(model: Model | ModelProto) -> Program:
    """Raises QdslError where a proto is no valid model. A model is brought into topological order."""
    model = from_proto(model) if isinstance(model, ModelProto) else model
    model.sort()
    constants: dict[str, Lazy] = {constant.name: lazy_of(constant) for constant in model.constants()}
    operations = []
    for node in model.nodes():
        value = _stored(node)
        if value is None:
            operations.append(operation_of(node, model.opset))
        else:
            constants[node.outputs[0].name] = value
    types = _types(model, constants)
    scales = {name: _key(constants[name]) for name in _scales(operations) if name in constants}
    return Program(
        tuple(operations),
        tuple(tensor.name for tensor in model.graph.inputs),
        tuple(tensor.name for tensor in model.graph.outputs),
        constants,
        types,
        pairs_of(operations, types, scales),
        _batch(model),
        _firsts(model),
        _varying(model, operations),
    )


def _batch(model: Model) -> int | None:
    firsts = {next(iter(tensor.shape or (None,))) for tensor in model.graph.inputs}
    first = firsts.pop() if len(firsts) == 1 else None
    return first if isinstance(first, int) else None


def _firsts(model: Model) -> dict[str, int]:
    tensors = (*model.graph.inputs, *(tensor for node in model.nodes() for tensor in node.outputs))
    return {one.name: one.shape[0] for one in tensors if one.shape and isinstance(one.shape[0], int)}


def _varying(model: Model, operations: list[Operation]) -> frozenset[str]:
    found = {tensor.name for tensor in model.graph.inputs}
    for one in operations:
        if one.op not in ("Shape", "Size") and not found.isdisjoint(one.inputs):
            found.update(one.outputs)
    return frozenset(found - {""})


def _stored(node: gs.Node) -> Lazy | None:
    """The value of a Constant node, as far as it is a tensor of numbers."""
    if node.op != "Constant" or node.domain or not node.outputs:
        return None
    for name, value in node.attrs.items():
        if name == "value" and isinstance(value, gs.Constant):
            return lazy_of(value)
        if name in ("value_float", "value_floats"):
            return _held(np.asarray(value, np.float32))
        if name in ("value_int", "value_ints"):
            return _held(np.asarray(value, np.int64))
    return None


def _held(array: NDArray[Any]) -> Lazy:
    return Held(array, number_of(array.dtype))


def _types(model: Model, constants: Mapping[str, Lazy]) -> dict[str, str | None]:
    found = {name: type_name(value.element_type) for name, value in constants.items()}
    for tensor in (*model.graph.inputs, *(one for node in model.nodes() for one in node.outputs)):
        if tensor.name and tensor.name not in found:
            found[tensor.name] = None if tensor.dtype is None else type_name(number_of(tensor.dtype))
    return found


def _scales(operations: list[Operation]) -> list[str]:
    return [one.inputs[1] for one in operations if one.kind in QUANTIZE or one.kind in DEQUANTIZE]


def _key(value: Lazy) -> tuple[tuple[int, ...], bytes]:
    """Equal where two scales are, which may be two constants."""
    return value.shape, value.load().tobytes()


def schedule(program: Program, given: Collection[str], wanted: Collection[str]) -> tuple[Step, ...]:
    """The operations that `wanted` needs, where the tensors `given` are known; constants are. Raises ValueError where
    something is neither known nor computed."""
    writer = {name: index for index, one in enumerate(program.operations) for name in one.outputs if name}
    needed: set[int] = set()
    waiting, missing = list(wanted), set()
    while waiting:
        name = waiting.pop()
        if name in given or name in program.constants:
            continue
        index = writer.get(name)
        if index is None:
            missing.add(name)
        elif index not in needed:
            needed.add(index)
            waiting += [one for one in program.operations[index].inputs if one]
    if missing:
        raise ValueError(f"no values for {', '.join(sorted(missing))}")
    return _steps(program, sorted(needed), frozenset(wanted))


def _steps(program: Program, order: list[int], wanted: frozenset[str]) -> tuple[Step, ...]:
    last: dict[str, int] = {}
    for index in order:
        one = program.operations[index]
        last.update({name: index for name in (*one.outputs, *one.inputs) if name})
    gone: dict[int, list[str]] = {}
    for name, index in last.items():
        if name not in wanted and name not in program.constants:
            gone.setdefault(index, []).append(name)
    return tuple(Step(index, tuple(gone.get(index, ()))) for index in order)
