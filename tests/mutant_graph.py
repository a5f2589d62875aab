"""A quantized model as the mutator edits it: nodes, who writes and reads what, constants. Plain onnx and numpy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Pair:
    """A QuantizeLinear on a computed tensor, and the DequantizeLinear nodes that alone read it."""

    q: NodeProto
    dqs: tuple[NodeProto, ...]

    @property
    def tensor(self) -> str:
        return str(self.q.input[0])


@dataclass(frozen=True)
class Layer:
    """A node that multiplies by a stored weight: `dq` dequantizes it, `data` is the port of what it is multiplied
    with."""

    node: NodeProto
    dq: NodeProto
    port: int
    data: int = 0


@dataclass(frozen=True)
class Kind:
    """A kind of fault: the rule that has to find it, for which target, where it can be planted, and how: `plant` edits
    the graph at one of the places and names the node or tensor that is at fault."""

    rule: str
    places: Callable[[Graph], list[Any]]
    plant: Callable[[Graph, Any], str]
    target: str = "ort"


class Graph:
    """A copy of a model to be edited. `done` puts the nodes in order and gives the model."""

    def __init__(self, model: ModelProto) -> None:
        self.model = copy.deepcopy(model)
        self.nodes: list[NodeProto] = list(self.model.graph.node)
        self.constants = {each.name: each for each in self.model.graph.initializer}
        self.look()

    def look(self) -> None:
        """Who writes and reads what, anew after an edit."""
        self.writer = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[tuple[NodeProto, int]]] = {}
        for node in self.nodes:
            for port, name in enumerate(node.input):
                self.readers.setdefault(name, []).append((node, port))
        self.outputs = {each.name for each in self.model.graph.output}
        self.inputs = {each.name for each in self.model.graph.input} - set(self.constants)

    # --- looking ----------------------------------------------------------------------------------------------------

    def value(self, name: str) -> Array:
        return numpy_helper.to_array(self.constants[name])

    def pairs(self) -> list[Pair]:
        """The pairs on computed tensors and graph inputs, in graph order."""
        found = []
        for node in self.nodes:
            if node.op_type != QUANTIZE or node.input[0] in self.constants or len(node.input) < 3:
                continue
            after = [reader for reader, _ in self.readers.get(node.output[0], [])]
            if after and all(each.op_type == DEQUANTIZE for each in after) and node.output[0] not in self.outputs:
                found.append(Pair(node, tuple(after)))
        return found

    def through(self, pair: Pair) -> list[tuple[NodeProto, int]]:
        """Where the values of a pair are read."""
        return [each for dq in pair.dqs for each in self.readers.get(dq.output[0], [])]

    def to_caller(self, pair: Pair) -> bool:
        return any(dq.output[0] in self.outputs for dq in pair.dqs)

    def alone(self, pair: Pair) -> bool:
        """Whether the pair's QuantizeLinear is the only reader of its tensor."""
        return len(self.readers.get(pair.tensor, [])) == 1 and pair.tensor not in self.outputs

    def pair_read(self, node: NodeProto, port: int) -> Pair | None:
        """The pair through which `node` reads a port."""
        if port >= len(node.input):
            return None
        dq = self.writer.get(node.input[port])
        q = self.writer.get(dq.input[0]) if dq is not None and dq.op_type == DEQUANTIZE else None
        if q is None or q.op_type != QUANTIZE:
            return None
        return next((pair for pair in self.pairs() if pair.q is q), None)

    def pairs_by_dq(self) -> dict[str, Pair]:
        """The pairs by what their DequantizeLinear nodes write."""
        return {dq.output[0]: pair for pair in self.pairs() for dq in pair.dqs}

    def layers(self) -> list[Layer]:
        """The nodes whose weight is a stored constant behind a DequantizeLinear, in graph order."""
        found = []
        for node in self.nodes:
            dq = self.writer.get(node.input[1]) if node.op_type in WEIGHTED and len(node.input) > 1 else None
            if dq is not None and dq.op_type == DEQUANTIZE and dq.input[0] in self.constants and dq.input[1:2]:
                found.append(Layer(node, dq, 1))
        return found

    def weight_of(self, layer: Layer) -> Array:
        """The float values of a stored weight."""
        codes, scale = self.value(layer.dq.input[0]), self.value(layer.dq.input[1])
        axis = next((a.i for a in layer.dq.attribute if a.name == "axis"), 1)
        if scale.ndim:
            scale = scale.reshape([-1 if at == axis % codes.ndim else 1 for at in range(codes.ndim)])
        return np.asarray(codes.astype(np.float32) * scale, np.float32)

    # --- editing ----------------------------------------------------------------------------------------------------

    def constant(self, name: str, value: Array) -> str:
        """A new constant; its name."""
        name = self.fresh(name)
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    @staticmethod
    def made(name: str, value: Array) -> TensorProto:
        return numpy_helper.from_array(np.asarray(value), name)

    def fresh(self, name: str) -> str:
        taken = {*self.constants, *self.writer, *self.inputs, *(node.name for node in self.nodes)}
        number = 0
        while f"{name}_{number}" in taken:
            number += 1
        return f"{name}_{number}"

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> NodeProto:
        """A new node with one output; it is put in order by `done`."""
        name = self.fresh(name)
        node = helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes)
        self.nodes.append(node)
        self.look()
        return node

    def pair_after(self, tensor: str, like: Pair, times: float = 1.0) -> tuple[NodeProto, NodeProto]:
        """A new pair on `tensor` with the parameters of another, its scale `times` as wide."""
        scale = like.q.input[1]
        if times != 1.0:
            scale = self.constant("planted_scale", self.value(scale) * np.float32(times))
        q = self.add(QUANTIZE, [tensor, scale, like.q.input[2]], "planted_q")
        return q, self.add(DEQUANTIZE, [q.output[0], scale, like.q.input[2]], "planted_dq")

    def reread(self, old: str, new: str, readers: list[tuple[NodeProto, int]]) -> None:
        """Have `readers` of `old` read `new`."""
        for node, port in readers:
            assert node.input[port] == old
            node.input[port] = new
        self.look()

    def drop(self, *nodes: NodeProto) -> None:
        gone = {id(node) for node in nodes}
        self.nodes = [node for node in self.nodes if id(node) not in gone]
        self.look()

    def forget(self, *nodes: NodeProto) -> None:
        """Drop those that nobody reads."""
        read = {*self.readers, *self.outputs}
        self.drop(*(each for each in nodes if each.output[0] not in read))

    def drop_pair(self, pair: Pair) -> None:
        """Have everybody read the float tensor."""
        for dq in pair.dqs:
            for node, port in self.readers.get(dq.output[0], []):
                node.input[port] = pair.tensor
        self.drop(pair.q, *pair.dqs)

    def output(self, tensor: str) -> None:
        """One more graph output."""
        self.model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
        self.look()

    def parameters(self, pair: Pair, scale: Array, zero: Array) -> None:
        """Other parameters, in constants of its own."""
        names = [self.constant("planted_scale", scale), self.constant("planted_zero", zero)]
        for node in (pair.q, *pair.dqs):
            node.input[1], node.input[2] = names
        self.look()

    def opset(self, version: int) -> None:
        """Another version of ai.onnx."""
        for each in self.model.opset_import:
            if each.domain in ("", "ai.onnx"):
                each.version = version

    def done(self) -> ModelProto:
        """The model, its nodes in order. Types of tensors that may have changed are left out."""
        graph = self.model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(_ordered(self.nodes))
        used = {name for node in self.nodes for name in node.input} | {each.name for each in graph.output}
        graph.initializer.extend(each for name, each in self.constants.items() if name in used)
        return self.model


def _ordered(nodes: list[NodeProto]) -> Iterator[NodeProto]:
    writer = {name: node for node in nodes for name in node.output if name}
    done: set[int] = set()
    for root in nodes:
        waiting: list[tuple[NodeProto, bool]] = [(root, False)]
        while waiting:
            node, ready = waiting.pop()
            if id(node) in done:
                continue
            if ready:
                done.add(id(node))
                yield node
                continue
            waiting.append((node, True))
            before = [writer[name] for name in reversed(node.input) if name in writer]
            waiting += [(each, False) for each in before if id(each) not in done]
