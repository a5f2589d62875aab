"""The fact that a model's Q/DQ pairs stand as its plan says: ensured by `insert_qdq`, kept by every lowering."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import onnx_graphsurgeon as gs

from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.graph.walk import writer
from qdsl.passes.origins import ORIGIN_KEY
from qdsl.rewrite import PairsPlan, PlanFact

_PAIR = ("DequantizeLinear", "QuantizeLinear")
_SINGLE = (*_PAIR, "Clip", "Cast", "Max")  # what passes put between a value and its readers


class _Read(NamedTuple):
    node: str
    port: int

    def __str__(self) -> str:
        return f"{self.node}:{self.port}" if self.node else "graph output"


def _broken(model: Model, plan: PairsPlan, changed: Collection[str]) -> Iterator[str]:
    """Every planned reader reads its tensor through a DequantizeLinear, nobody else reads through one, and nothing but
    a DequantizeLinear reads what a QuantizeLinear writes. Linear in the size of the graph."""
    pairs = _Pairs(model, changed)
    planned = _planned(plan)
    for read, name in planned.items():
        if read.node not in changed and not pairs.reads(read, name):
            yield f"{read} does not read {name} through its pair"
    outputs = {tensor.tensor for tensor in plan.tensors if any(not reader.node for reader in tensor.readers)}
    for name in outputs:
        if not pairs.public(name):
            yield f"the graph output {name} is not read through its pair"
    yield from pairs.beyond(planned, outputs)


def _planned(plan: PairsPlan) -> dict[_Read, str]:
    """The tensor that each planned port reads; what a body reads by name stays the float value."""
    found = {_Read(r.node, r.port): t.tensor for t in plan.tensors for r in t.readers if r.node and r.port >= 0}
    found |= {_Read(weight.node, weight.port): weight.tensor for weight in plan.weights}
    return found | {_Read(bias.node, bias.port): bias.tensor for bias in plan.biases}


class _Pairs:
    """Looks through what passes wrote: the nodes that say where they come from."""

    def __init__(self, model: Model, changed: Collection[str]) -> None:
        self._model = model
        self._changed = changed
        self._nodes = {node.name: node for node in model.nodes()}
        self._written = {id(node) for node in self._nodes.values() if ORIGIN_KEY in meta_of(node).metadata}

    def reads(self, read: _Read, name: str) -> bool:
        """Whether a port reads the tensor `name` through a pair, or the integers that are stored of it."""
        node = self._nodes.get(read.node)
        if node is None or read.port >= len(node.inputs) or not self._dequantized(node.inputs[read.port]):
            return False
        source, value = self._source(node.inputs[read.port]), self._model.tensor(name)
        if isinstance(source, gs.Constant):
            return value is None or isinstance(value, gs.Constant)
        if source.inputs and source.inputs[0].name in self._changed:
            return True
        return value is not None and self._source(value) is source

    def public(self, name: str) -> bool:
        """Whether the graph output `name` is read through a pair, where one name can stand for it."""
        value = self._model.tensor(name)
        if value is None or self._model.captured(value) or not value.inputs:
            return value is not None
        return self._dequantized(value)

    def beyond(self, planned: Collection[_Read], outputs: Collection[str]) -> Iterator[str]:
        """Those who read through a pair, or integers, and are not planned."""
        for node in self._nodes.values():
            if id(node) in self._written or node.name in self._changed:
                continue
            for port, tensor in enumerate(node.inputs):
                pair = writer(tensor)
                if pair is None or pair.op not in _PAIR or id(pair) not in self._written:
                    continue
                if pair.op == "QuantizeLinear" or _Read(node.name, port) not in planned:
                    yield f"{node.name}:{port} reads {tensor.name}, which is not planned"
        for tensor in self._model.graph.outputs:
            if self._dequantized(tensor) and tensor.name not in outputs:
                yield f"the graph output {tensor.name} is read through a pair, which is not planned"

    def _dequantized(self, tensor: gs.Tensor) -> bool:
        pair = writer(tensor)
        return pair is not None and pair.op == "DequantizeLinear" and id(pair) in self._written

    def _source(self, tensor: gs.Tensor) -> gs.Tensor:
        """What stands before all that passes wrote around one value."""
        node = writer(tensor)
        while node is not None and id(node) in self._written and node.op in _SINGLE:
            if node.name in self._changed:
                break
            tensor = node.inputs[0]
            node = writer(tensor)
        return tensor


PAIRS_AS_PLANNED = PlanFact("pairs_as_planned", _broken)
