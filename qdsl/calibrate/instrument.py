"""The float model with reductions added: its outputs become a handful of numbers per tensor, so that nothing
big leaves it.

Reductions stand right after the node that writes the tensor, and sessions run nodes in this order: the values are
still in the cache, and their memory is given back at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from qdsl.calibrate.shortcuts import FLOATS, Shortcuts
from qdsl.graph.view import GraphView

# A row this far below the others is masked: no scale of 8 bits holds it beside them. So is one below MASKED.
MASKED_ROW, MASKED = 256.0, -1000.0
_ONNX_NAMES = {"float64": "DOUBLE"} | {
    name: name.upper()
    for name in (
        "float16",
        "bfloat16",
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
    )
}


@dataclass(frozen=True, slots=True)
class Readout:
    """Where the numbers come out: for each tensor the names of its smallest and largest value; the sums; the
    tensors that come out whole; and by tensor and axis the smallest of the largest values of its rows."""

    extremes: Mapping[str, tuple[str, str]]
    sums: tuple[str, ...]
    counted: tuple[str, ...] = ()
    tops: Mapping[tuple[str, int], str] = field(default_factory=dict)

    @property
    def scalars(self) -> tuple[str, ...]:
        return (*(name for pair in self.extremes.values() for name in pair), *self.sums, *self.tops.values())

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.scalars, *self.counted)


def instrument(
    proto: ModelProto,
    view: GraphView,
    ways: Shortcuts,
    counted: Sequence[str] = (),
    rows: Sequence[tuple[str, int]] = (),
) -> Readout:
    """Put the reductions that `ways` and `rows` (tensor, axis) ask for into `proto`, in place, and make them and
    `counted` its only outputs."""
    writer = _Writer(proto, view)
    extremes = {tensor: writer.extremes(tensor) for tensor in ways.reduced}
    for tensor, (op, of) in ways.mapped.items():
        extremes[tensor] = writer.mapped(tensor, op, extremes[of])
    written = [view.tensors[o] for o in view.outputs if view.tensors[o].kind != "constant"]  # nobody writes a constant
    floats = [tensor.name for tensor in written if tensor.dtype in FLOATS]
    sums = tuple(writer.sum(tensor) for tensor in dict.fromkeys([*ways.summed, *floats]))
    tops = {(tensor, axis): writer.top(tensor, axis) for tensor, axis in rows}
    readout = Readout(extremes, sums, tuple(counted), tops)
    writer.finish(readout.scalars)
    proto.graph.output.extend(_output(view, name) for name in counted)
    return readout


def expose(proto: ModelProto, view: GraphView, tensors: Sequence[str]) -> None:
    """Make `tensors` the only outputs of `proto`, in place."""
    del proto.graph.output[:]
    proto.graph.output.extend(_output(view, name) for name in tensors)


def _output(view: GraphView, tensor: str) -> ValueInfoProto:
    kind = getattr(TensorProto, _ONNX_NAMES.get(view.tensors[tensor].dtype or "", "FLOAT"))
    return helper.make_tensor_value_info(tensor, kind, None)


class _Writer:
    """Collects new nodes by the tensor they follow, then merges them into the node list."""

    def __init__(self, proto: ModelProto, view: GraphView) -> None:
        self._proto = proto
        self._view = view
        self._after: dict[str, list[NodeProto]] = {}
        self._prefix = "qdsl_range"
        taken = set(view.tensors)
        while any(name.startswith(self._prefix) for name in taken):
            self._prefix += "_"
        self._count = 0

    def extremes(self, tensor: str) -> tuple[str, str]:
        source = self._as_float32(tensor)
        low, high = (self._add(tensor, op, source, keepdims=0) for op in ("ReduceMin", "ReduceMax"))
        return low, high

    def mapped(self, tensor: str, op: str, of: tuple[str, str]) -> tuple[str, str]:
        low, high = (self._add(tensor, op, name) for name in of)
        return low, high

    def top(self, tensor: str, axis: int) -> str:
        """The smallest of the largest values of the rows along `axis`; rows that are masked as a whole do not count."""
        source = self._as_float32(tensor)
        if self._view.opset < 18:
            rows = self._add(tensor, "ReduceMax", source, axes=[axis], keepdims=0)
        else:
            rows = self._add(tensor, "ReduceMax", source, self._constant(tensor, [axis]), keepdims=0)
        largest = self._add(tensor, "ReduceMax", rows, keepdims=0)
        floor = self._add(tensor, "Sub", largest, self._constant(tensor, MASKED_ROW))
        seen = self._add(tensor, "Where", self._add(tensor, "Less", rows, floor), largest, rows)
        return self._add(tensor, "ReduceMin", seen, keepdims=0)

    def _constant(self, tensor: str, value: list[int] | float) -> str:
        kind = TensorProto.INT64 if isinstance(value, list) else TensorProto.FLOAT
        shape = [len(value)] if isinstance(value, list) else []
        held = helper.make_tensor("value", kind, shape, value if isinstance(value, list) else [value])
        return self._add(tensor, "Constant", value=held)

    def sum(self, tensor: str) -> str:
        return self._add(tensor, "ReduceSum", self._as_float32(tensor), keepdims=0)

    def finish(self, outputs: Sequence[str]) -> None:
        nodes = list(self._proto.graph.node)
        merged = [new for name in self._view.inputs for new in self._after.get(name, ())]
        for node in nodes:
            merged.append(node)
            merged += [new for name in node.output for new in self._after.get(name, ())]
        del self._proto.graph.node[:]
        self._proto.graph.node.extend(merged)
        del self._proto.graph.output[:]
        self._proto.graph.output.extend(helper.make_tensor_value_info(o, TensorProto.FLOAT, []) for o in outputs)

    def _as_float32(self, tensor: str) -> str:
        if self._view.tensors[tensor].dtype in ("float32", None):
            return tensor
        return self._add(tensor, "Cast", tensor, to=TensorProto.FLOAT)

    def _add(self, tensor: str, op: str, *sources: str, **attributes: Any) -> str:
        name = f"{self._prefix}/{self._count}"
        self._count += 1
        self._after.setdefault(tensor, []).append(helper.make_node(op, sources, [name], name=name, **attributes))
        return name
