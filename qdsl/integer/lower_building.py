"""The integer graph as it grows: tensors, operators, and the changes of layout between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qdsl.integer.lower_layout import Axes, Shape, identity, reshaped, same_bytes, stored_shape
from qdsl.integer.lower_values import Array, At
from qdsl.integer.records import Dtype, DynamicQuantize, Encoding, IntegerGraph, Op, Pad, Reshape, Tensor, Transpose


class Builder:
    def __init__(self, taken: Iterable[str]) -> None:
        """`taken` are names that only the tensors asked for by them may have."""
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.constants: dict[str, Array] = {}
        self._taken = set(taken)
        self._laid: dict[object, At] = {}
        self._reshaped: dict[str, str] = {}  # what a Reshape wrote, and the tensor whose bytes these are
        self._known: dict[tuple[bytes, Shape, str, object], str] = {}

    # --- tensors ------------------------------------------------------------------------------------------------------

    def tensor(
        self, name: str, shape: Shape, axes: Axes, dtype: Dtype = "float32", encoding: Encoding | None = None
    ) -> At:
        """A tensor of the ONNX `shape`, stored in the order `axes`; under another name where that is taken."""
        name = self._free(name) if name in self.tensors else name
        self.tensors[name] = Tensor(name, stored_shape(shape, axes), dtype, axes, encoding)
        return At(name, shape, axes)

    def like(self, at: At, name: str) -> At:
        """A tensor of the shape, order, type and encoding of another."""
        same = self.tensors[at.name]
        return self.tensor(name, at.shape, at.axes, same.dtype, same.encoding)

    def constant(self, name: str, array: Array, axes: Axes, encoding: Encoding | None = None) -> At:
        """A stored constant: `array` in ONNX's order, int8 with an encoding or float32."""
        array = np.asarray(array, np.float32 if encoding is None else np.int8)
        key = (array.tobytes(), array.shape, array.dtype.str, (axes, encoding))
        if key not in self._known:
            dtype: Dtype = "float32" if encoding is None else "int8"
            made = self.tensor(name, array.shape, axes, dtype, encoding)
            self.constants[made.name] = np.ascontiguousarray(array.transpose(axes))
            self._known[key] = made.name
        return At(self._known[key], array.shape, axes)

    def add(self, op: Op) -> None:
        self.ops.append(op)

    def _free(self, name: str) -> str:
        number = 2
        while f"{name}_{number}" in self.tensors or f"{name}_{number}" in self._taken:
            number += 1
        return f"{name}_{number}"

    def spare(self, name: str) -> str:
        """A name like `name` that no tensor of the file has."""
        return name if name not in self._taken and name not in self.tensors else self._free(name)

    # --- layout -------------------------------------------------------------------------------------------------------

    def ready(self, at: At, node: str) -> At:
        """`at` with nothing left to do: its elements moved or padded as it says."""
        if at.ready:
            return at
        return self._once(at, lambda: self._padded(at, node) if at.padding is not None else self._flat(at, node))

    def laid(self, at: At, axes: Axes, node: str) -> At:
        """The tensor in the stored order `axes`, moved only where that changes where elements lie."""
        at = self.ready(at, node)
        return at if at.axes == axes else self._once((at, axes), lambda: self._laid_out(at, axes, node))

    def reshaped(self, at: At, target: Shape, node: str) -> At:
        """The tensor under another shape of ONNX; where elements would have to move, that is left for later."""
        if at.shape == target:
            return at
        if at.within is not None:
            return self.reshaped(at.within, target, node)
        at = self.ready(at, node)
        axes = reshaped(at.shape, at.axes, target)
        if axes is None:
            return At(at.name, target, identity(len(target)), within=at)
        return self._once((at, target), lambda: self._as(at, target, axes, node))

    def _once(self, key: object, make: Any) -> At:
        if key not in self._laid:
            self._laid[key] = make()
        return self._laid[key]

    def _laid_out(self, at: At, axes: Axes, node: str) -> At:
        if same_bytes(at.shape, at.axes, axes):
            return self._as(at, at.shape, axes, node)
        same = self.tensors[at.name]
        made = self.tensor(self.spare(f"{at.name}_laid"), at.shape, axes, same.dtype, same.encoding)
        order = tuple(at.axes.index(axis) for axis in axes)
        self.add(Transpose(node, (at.name,), made.name, order=order))
        return made

    def _as(self, at: At, shape: Shape, axes: Axes, node: str) -> At:
        if stored_shape(shape, axes) == at.stored:
            return At(at.name, shape, axes)
        source = self._reshaped.get(at.name, at.name)
        same = self.tensors[at.name]
        made = self.tensor(self.spare(f"{source}_reshaped"), shape, axes, same.dtype, same.encoding)
        self.add(Reshape(node, (source,), made.name))
        self._reshaped[made.name] = source
        return made

    def _flat(self, at: At, node: str) -> At:
        assert at.within is not None
        inner = self.laid(at.within, identity(len(at.within.shape)), node)
        axes = reshaped(inner.shape, inner.axes, at.shape)
        assert axes is not None
        return self._as(inner, at.shape, axes, node)

    def _padded(self, at: At, node: str) -> At:
        assert at.padding is not None
        same = self.tensors[at.name]
        made = self.tensor(self.spare(f"{at.name}_padded"), at.shape, at.axes, same.dtype, same.encoding)
        before, after = (tuple(at.padding[axis][end] for axis in at.axes) for end in (0, 1))
        value = float(same.encoding.zero) if same.encoding is not None else 0.0
        self.add(Pad(node, (at.name,), made.name, before=before, after=after, value=value))
        return made

    # --- the end ------------------------------------------------------------------------------------------------------

    def told(self, at: At, encoding: Encoding, node: str) -> At:
        """The same integers, stood for by `encoding`: said of the tensor where nothing else is, of a copy otherwise."""
        had = self.tensors[at.name]
        if had.encoding is None and at.ready:
            self.tensors[at.name] = Tensor(had.name, had.shape, had.dtype, had.axes, encoding)
            return at
        if had.encoding == encoding:
            return at
        at = self.ready(at, node)
        made = self.tensor(self.spare(f"{at.name}_told"), at.shape, at.axes, had.dtype, encoding)
        self.add(Reshape(node, (at.name,), made.name))
        return made

    def graph(self, name: str, inputs: tuple[str, ...], outputs: Sequence[tuple[At, str, str]]) -> IntegerGraph:
        """The graph. `outputs` are where each lies, what it is called, and the node to name where it has to be copied:
        one that is an input or another output already."""
        called: dict[str, str] = {}
        for at, output, node in outputs:
            if at.name in inputs or at.name in called:
                had = self.tensors[at.name]
                at = self.tensor(self.spare(f"{output}_copied"), at.shape, at.axes, had.dtype, had.encoding)
                self.add(Reshape(node, (had.name,), at.name))
            self.tensors[at.name] = replace(self.tensors[at.name], axes=at.axes)
            called[at.name] = output
        for taken in set(called.values()) & set(self.tensors) - set(called):
            called[taken] = self._free(taken)
        return self._renamed(name, inputs, tuple(output for _, output, _ in outputs), called)

    def _renamed(
        self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], called: Mapping[str, str]
    ) -> IntegerGraph:
        ops = _read([_renamed(op, called) for op in self.ops], outputs)
        there = {*inputs, *outputs, *(each for op in ops for each in (*op.inputs, *_written(op)))}
        tensors = {called.get(key, key): replace(each, name=called.get(key, key)) for key, each in self.tensors.items()}
        constants = {called.get(key, key): array for key, array in self.constants.items()}
        return IntegerGraph(
            name,
            inputs,
            outputs,
            {key: each for key, each in tensors.items() if key in there},
            ops,
            {key: array for key, array in constants.items() if key in there},
        )


def _read(ops: Sequence[Op], outputs: Iterable[str]) -> tuple[Op, ...]:
    """The operators that somebody reads, in their order."""
    wanted, found = set(outputs), []
    for op in reversed(ops):
        if wanted.intersection(_written(op)):
            found.append(op)
            wanted.update(op.inputs)
    return tuple(reversed(found))


def _written(op: Op) -> tuple[str, ...]:
    return (op.output, op.encoding) if isinstance(op, DynamicQuantize) else (op.output,)


def _renamed(op: Op, called: Mapping[str, str]) -> Op:
    names = tuple(called.get(each, each) for each in op.inputs)
    op = replace(op, inputs=names, output=called.get(op.output, op.output))
    return replace(op, encoding=called.get(op.encoding, op.encoding)) if isinstance(op, DynamicQuantize) else op
