"""A finished file in which the rounding of each quantized tensor can be switched off: one graph, whose new inputs
decide while it runs. With every switch on it is the file, with every switch off its float twin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from qdsl.causes.rounded import rounded_together
from qdsl.finished.records import Finished, Form, QuantizedTensor, Role
from qdsl.graph import Model
from qdsl.graph.constants import lazy_of
from qdsl.graph.dtypes import number_of, type_name
from qdsl.graph.edit import (
    add_constant,
    add_node,
    add_variable,
    become,
    exchange_outputs,
    remove_node,
    replace_all_uses,
    replace_input,
)
from qdsl.graph.moves import MOVES
from qdsl.graph.walk import writer
from qdsl.passes.constant_nodes import ConstantNodes
from qdsl.passes.dead_code import DeadCode

NO_FLOATS = "the file has its integers alone, and no float model says what they were"
_FLAG = "qdsl.switch"
_DEEPEST = 64  # nodes that move integers, one behind the other
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_NOT_SWITCHED = {
    Form.OPERATOR: "an operator computes on its integers: no Q and DQ around it can be left out",
    Form.DYNAMIC: "it is quantized while the model runs",
    Form.FAKE: "one operator rounds it, which is no Q and DQ",
    Form.LONE_QUANTIZE: "its integers leave the graph",
    Form.LONE_DEQUANTIZE: "its integers come from outside, or from an operator that computes on integers",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One tensor behind a switch: `before` is what is quantized (a constant for a weight), `after` what comes of it;
    `called` is its name in the float model: that of the graph output which the dequantized value is, if it is one.
    `readers` are the (node, port) that read the dequantized value."""

    record: QuantizedTensor
    before: str
    after: str
    called: str
    readers: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """Tensors that are rounded together. `flag` is the graph input that decides for them, `choosers` the nodes that ask
    it."""

    flag: str
    role: Role
    members: tuple[Member, ...]
    choosers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Switched:
    """The graph with its switches, in graph order; `left_out` are quantized tensors without one, each with why."""

    model: Model
    switches: tuple[Switch, ...]
    left_out: tuple[tuple[str, str], ...]

    def flags(self, on: Iterable[str]) -> dict[str, NDArray[Any]]:
        """What to feed the switches for the flags that are `on`, the others being off."""
        chosen = set(on)
        return {each.flag: np.asarray(each.flag in chosen) for each in self.switches}

    @property
    def every(self) -> tuple[str, ...]:
        return tuple(each.flag for each in self.switches)


def switched(finished: Finished, weights: Mapping[str, NDArray[Any]]) -> Switched:
    """The file with switches. `weights` are the float values of weights and biases that it stores as integers, by the
    float tensor that they stand for."""
    model = finished.model.copy()
    ConstantNodes().apply(model)
    work = _Switching(model, weights)
    found: list[Switch] = []
    left: list[tuple[str, str]] = []
    for number, group in enumerate(rounded_together(finished)):
        made = work.switch(f"{_FLAG}.{number}", group)
        if isinstance(made, str):
            left += [(records[0].tensor, made) for records in group]
        else:
            found.append(made)
    model.sort()
    return Switched(model, tuple(found), tuple(left))


def fixed(switched: Switched, kept: Iterable[Switch], *, on: bool) -> Switched:
    """The same graph with the switches of `kept` alone, the others being on or off for good, and what nobody reads any
    more gone: it runs quicker."""
    left = {each.flag: each for each in kept}
    model = switched.model.copy()
    nodes = {node.name: node for node in model.nodes()}
    flags = {each.flag for each in switched.switches}
    for switch in switched.switches:
        for name in () if switch.flag in left else switch.choosers:
            _fix(model, nodes[name], nodes[name].inputs[1 if on else 2])
    model.graph.inputs[:] = [each for each in model.graph.inputs if each.name in left or each.name not in flags]
    DeadCode().apply(model)
    return Switched(model, tuple(left.values()), switched.left_out)


def _fix(model: Model, chooser: gs.Node, source: gs.Tensor) -> None:
    """Let what reads a choice read `source`."""
    target = chooser.outputs[0]
    replace_all_uses(model, target, source)
    if model.is_open(target):  # seen by name
        become(model, chooser, "Identity", [source])
    else:
        remove_node(model, chooser)


@dataclass(slots=True)
class _Switching:
    model: Model
    weights: Mapping[str, NDArray[Any]]
    _nodes: dict[str, gs.Node] = field(default_factory=dict)
    _public: dict[str, str] = field(default_factory=dict)
    _known: dict[tuple[int, str], gs.Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._nodes = {node.name: node for node in self.model.nodes()}
        outputs = {tensor.name for tensor in self.model.graph.outputs}
        written = ((name, node.outputs[0].name) for name, node in self._nodes.items() if node.outputs)
        self._public = {name: tensor for name, tensor in written if tensor in outputs}

    def switch(self, flag: str, group: Sequence[Sequence[QuantizedTensor]]) -> Switch | str:
        """A switch for all the pairs on a group of tensors, or why there can be none."""
        pairs: dict[str, tuple[gs.Node, gs.Tensor]] = {}
        for records in group:
            for record in records:
                found = self._pairs(record)
                if isinstance(found, str):
                    return found
                pairs.update(found)
        chooser = add_variable(self.model, flag, "bool", ())
        self.model.graph.inputs.append(chooser)
        choosers = tuple(self._choose(chooser, *pair).name for pair in pairs.values())
        members = tuple(self._member(records, pairs) for records in group)
        return Switch(chooser.name, group[0][0].role, members, choosers)

    def _pairs(self, record: QuantizedTensor) -> dict[str, tuple[gs.Node, gs.Tensor]] | str:
        """The DequantizeLinear nodes of a record, each with the float tensor that its integers are made of, or why
        there are none."""
        if record.form in _NOT_SWITCHED:
            return _NOT_SWITCHED[record.form]
        found = {}
        for name in record.dequantizers:
            node = self._nodes[name]
            before = self._floated(node.inputs[0], record.tensor)
            if before is None:
                return NO_FLOATS if record.form is Form.STORED else _NOT_SWITCHED[Form.LONE_DEQUANTIZE]
            if _kind(before) != _kind(node.outputs[0]) or _kind(before) not in (*_FLOATS, None):
                return "what is quantized and what comes of it are of different types"
            found[name] = (node, before)
        return found or "nothing dequantizes it"

    def _member(self, records: Sequence[QuantizedTensor], pairs: Mapping[str, tuple[gs.Node, gs.Tensor]]) -> Member:
        node, before = pairs[records[0].dequantizers[0]]
        readers = tuple((each.node, each.port) for record in records for each in record.readers if each.node)
        public = (self._public.get(name) for record in records for name in record.dequantizers)
        called = next(filter(None, public), records[0].tensor)
        return Member(records[0], before.name, node.outputs[0].name, called, readers)

    def _choose(self, flag: gs.Variable, node: gs.Node, before: gs.Tensor) -> gs.Node:
        """A node behind `node` that writes what it wrote, or `before`."""
        chosen = add_node(self.model, "Where", [flag, before, before], like=node.outputs[0], name=f"{flag.name}.chosen")
        exchange_outputs(self.model, node, chosen)
        replace_input(self.model, chosen, 1, node.outputs[0])
        return chosen

    def _floated(self, tensor: gs.Tensor, name: str, depth: int = 0) -> gs.Tensor | None:
        """The float tensor whose integers `tensor` is; None where there is none. `name` is what weights call it."""
        key = (id(tensor), name)
        if key not in self._known:
            self._known[key] = self._found(tensor, name, depth) if depth < _DEEPEST else None
        return self._known[key]

    def _found(self, tensor: gs.Tensor, name: str, depth: int) -> gs.Tensor | None:
        node = writer(tensor)
        if node is None:
            return self._stored(tensor, name)
        if node.op == "QuantizeLinear":
            return node.inputs[0]
        if node.op == "Clip":  # a width that no type has
            return self._floated(node.inputs[0], name, depth + 1)
        if node.op not in MOVES or node.domain:
            return None
        inputs: list[gs.Tensor | None] = [each if each.name else None for each in node.inputs]
        for port, read in enumerate(node.inputs):
            if port in MOVES[node.op].data and read.name:
                inputs[port] = self._floated(read, name, depth + 1)
                if inputs[port] is None:
                    return None
        kind = _kind(inputs[0]) if inputs[0] is not None else None
        like, kind = node.outputs[0], kind or "float32"
        called = f"{node.name}.float"
        made = add_node(self.model, node.op, inputs, name=called, attrs=node.attrs, like=like, element_type=kind)
        return made.outputs[0]

    def _stored(self, tensor: gs.Tensor, name: str) -> gs.Tensor | None:
        """The float values of a stored constant, as a constant of the same shape."""
        found = self.weights.get(name)
        if not isinstance(tensor, gs.Constant) or found is None or tuple(found.shape) != lazy_of(tensor).shape:
            return None
        return add_constant(self.model, f"{name}.float", found)


def _kind(tensor: gs.Tensor) -> str | None:
    """Its element type; None where it is not known."""
    number = lazy_of(tensor).element_type if isinstance(tensor, gs.Constant) else tensor.dtype
    return None if number is None else type_name(number_of(number))
