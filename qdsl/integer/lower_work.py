"""What the operators' files share: the file, the graph that grows, and what is known of each tensor so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.lower_building import Builder
from qdsl.integer.lower_errors import LoweringError
from qdsl.integer.lower_layout import Shape, identity
from qdsl.integer.lower_reading import File
from qdsl.integer.lower_values import (
    Array,
    At,
    Bounds,
    Const,
    Floats,
    Ints,
    Of,
    Packed,
    Pending,
    RunInts,
    Step,
    Value,
    Writing,
)
from qdsl.integer.records import Binary, Dequantize, Encoding, Unary

Handler = Callable[["Work", NodeView], None]
KINDS: Mapping[str, Literal["add", "sub", "mul", "div"]] = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_MOST = 127


class Work:
    def __init__(self, file: File) -> None:
        self.file = file
        self.view = file.view
        self.graph = Builder(file.view.tensors)
        self.values: dict[str, Value] = {}
        self.quantized: dict[tuple[str, Encoding], At] = {}  # by tensor and encoding, where its integers lie
        self.measured: dict[str, tuple[str, At]] = {}  # by tensor of the scale: what was measured, where its uint8 lie
        self._written: dict[object, At] = {}

    # --- reading ------------------------------------------------------------------------------------------------------

    def value(self, node: NodeView, port: int) -> Value:
        """What stands at an input port. Raises LoweringError where nothing does."""
        name = node.inputs[port] if port < len(node.inputs) else ""
        if name in self.values:
            return self.values[name]
        found = self.file.constant(name) if name else None
        if found is None:
            raise self.no(node, f"input {port} is missing")
        return Const(found)

    def has(self, node: NodeView, port: int) -> bool:
        return port < len(node.inputs) and bool(node.inputs[port])

    def constant(self, node: NodeView, port: int) -> Array | None:
        """The constant at a port, None where there is none. Raises LoweringError where it is computed."""
        if not self.has(node, port):
            return None
        value = self.value(node, port)
        if not isinstance(value, Const):
            raise self.no(node, f"input {port} (`{node.inputs[port][:80]}`) has to be a constant")
        return value.array

    def floats(self, node: NodeView, port: int) -> At:
        """Where the input lies as floats; made of integers where it was none."""
        value = self.value(node, port)
        if isinstance(value, Pending):
            at = self.written(node.inputs[port], value)
            self.values[node.inputs[port]] = Floats(at)
            return at
        return self.as_floats(node, value, node.inputs[port])

    def as_floats(self, node: NodeView, value: Value, name: str) -> At:
        if isinstance(value, Floats):
            return value.at
        if isinstance(value, Of):
            return self._dequantized(value, name)
        if isinstance(value, Const | Packed):
            array = value.array if isinstance(value, Const) else value.floats()
            if array.dtype.kind != "f":
                raise self.no(node, f"`{name[:80]}` holds {array.dtype}, not float32")
            return self.graph.constant(name, array, identity(array.ndim))
        raise self.no(node, f"`{name[:80]}` holds integers, not float32")

    def _dequantized(self, value: Of, name: str) -> At:
        """Floats of integers, with each function of them computed."""
        at = value.at
        if at.within is not None:
            inner = self._dequantized(replace(value, at=at.within), self.graph.spare(f"{name}_within"))
            return self.graph.reshaped(inner, at.shape, self._source(name))
        for count in range(len(value.steps) + 1):
            key = (value.at, value.steps[:count])
            if key not in self._written:
                self._written[key] = self._one(at, value, count, name if count == len(value.steps) else "")
            at = self._written[key]
        return at

    def _one(self, at: At, value: Of, count: int, name: str) -> At:
        """One link of that chain, from `at`: first what dequantizes, then a step each."""
        wanted = name or self.graph.spare(f"{value.at.name}_floats")
        if count:
            step = value.steps[count - 1]
            other = step.other
            by = self._dequantized(replace(value, steps=other), "") if isinstance(other, tuple) else None
            made = self.graph.tensor(wanted, at.shape, at.axes)
            self.add_step(step, at, made, by)
            return made
        source = self._source(name)
        at = self.graph.ready(at, source)
        made = self.graph.tensor(wanted, at.shape, at.axes)
        self.graph.add(Dequantize(source, (at.name,), made.name))
        return made

    def add_step(self, step: Step, at: At, made: At, by: At | None = None) -> None:
        """The operator of a function of floats; `by` is where the other side lies that is no number."""
        if step.other is None:
            attributes = dict(step.attributes)
            self.graph.add(Unary(step.node, (at.name,), made.name, function=step.function, attributes=attributes))
            return
        if by is None:
            number = np.array([step.other], np.float32)
            by = self.graph.constant(self.graph.spare(f"{made.name}_by"), number, (0,))
        inputs = (by.name, at.name) if step.first else (at.name, by.name)
        self.graph.add(Binary(step.node, inputs, made.name, kind=KINDS[step.function]))

    def _source(self, name: str) -> str:
        producer = self.view.producer(name)
        return producer.name if producer is not None else name

    # --- pending operators --------------------------------------------------------------------------------------------

    def written(self, name: str, value: Pending) -> At:
        """What a pending operator writes as floats."""
        low, high = value.bounds.low, value.bounds.high
        if value.cuts[1] or value.bounds.open:
            return value.floats(Writing(name, value.fused, low, high))
        at = value.floats(Writing(self.graph.spare(f"{name}_before"), ()))
        made = self.graph.like(at, name)
        bounds = {key: end for key, end in (("min", low), ("max", high)) if np.isfinite(end)}
        self.graph.add(Unary(value.fused[-1], (at.name,), made.name, function="Clip", attributes=bounds))
        return made

    def only_read_by(self, tensor: str) -> bool:
        """Whether one port of one node is all that reads a tensor."""
        return len(self.view.users(tensor)) == 1 and not self.view.is_open(tensor)

    # --- writing ------------------------------------------------------------------------------------------------------

    def give(self, node: NodeView, value: Value) -> None:
        self.values[node.outputs[0]] = value

    def moved(self, node: NodeView, port: int = 0) -> Value:
        """What stands at a port, as something that lies somewhere: pending operators write floats."""
        value = self.value(node, port)
        return Floats(self.floats(node, port)) if isinstance(value, Pending) else value

    def shape(self, node: NodeView, output: int = 0) -> Shape:
        return self.file.shape(node.outputs[output], node)

    def no(self, node: NodeView, reason: str) -> LoweringError:
        return LoweringError(node.name, node.op, reason)


def lies(value: Value) -> At | None:
    return value.at if isinstance(value, Ints | Of | Floats | RunInts) else None


def put(value: Value, at: At) -> Value:
    """`value`, lying elsewhere."""
    assert isinstance(value, Ints | Of | Floats | RunInts)
    return replace(value, at=at)


def dequantized(value: Value) -> Of | None:
    """Integers that are read as what they stand for and nothing else."""
    return value if isinstance(value, Of) and not value.steps else None


def ends(bounds: Bounds, encoding: Encoding) -> tuple[int, int]:
    """Bounds of floats as the integers that are stored at least and at most."""
    return tuple(quantized(end, encoding) for end in (bounds.low, bounds.high))  # type: ignore[return-value]


def quantized(value: float, encoding: Encoding) -> int:
    """QuantizeLinear of one number, in float32."""
    if not np.isfinite(value):
        return -_MOST - 1 if value < 0 else _MOST
    steps = np.rint(np.float32(value) / np.float32(encoding.scale))
    return int(min(max(float(steps) + encoding.zero, -_MOST - 1), _MOST))
