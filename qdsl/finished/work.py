"""What the parts of the reader share while one file is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from qdsl.finished.checks import faults
from qdsl.finished.fixed import Fixed
from qdsl.finished.flow import Follower, readers_of
from qdsl.finished.parameters import Written, read_parameters
from qdsl.finished.records import Fault, Parameters, QuantizedTensor, Role
from qdsl.graph import Model
from qdsl.graph.meta import meta_of
from qdsl.graph.moves import MOVES
from qdsl.graph.view import Dim, GraphView, NodeView
from qdsl.passes.origins import ORIGIN_KEY
from qdsl.spec.plan import Reader

_FURTHEST = 64  # nodes between a dequantized constant and those that compute with it
# Where the operators of ONNX that have a bias read it.
_BIASES = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "LayerNormalization", "InstanceNormalization"), 2),
    **dict.fromkeys(("GroupNormalization", "BatchNormalization", "FusedConv", "FusedGemm"), 2),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DeformConv"), 3),
}


@dataclass
class Work:
    """One file while it is read. `dequantized` are the DequantizeLinear nodes (by index) that belong to a record
    already, `reached` the ports that read integers of one; `found` the records with the index of their first node."""

    model: Model
    view: GraphView
    dequantized: set[int] = field(default_factory=set)
    reached: set[Reader] = field(default_factory=set)
    found: list[tuple[int, QuantizedTensor]] = field(default_factory=list)
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)
    _parameters: dict[Written, Parameters] = field(default_factory=dict)

    @cached_property
    def fixed(self) -> Fixed:
        return Fixed(self.model)

    @cached_property
    def follower(self) -> Follower:
        return Follower(self.view, self.fixed)

    @cached_property
    def _origins(self) -> dict[str, str]:
        nodes = self.model.nodes()
        return {node.name: meta_of(node).metadata[ORIGIN_KEY] for node in nodes if ORIGIN_KEY in meta_of(node).metadata}

    def add(self, index: int, record: QuantizedTensor) -> None:
        self.found.append((index, record))

    def parameters(self, written: Written) -> Parameters:
        if written not in self._parameters:
            self._parameters[written] = read_parameters(written, self.view, self.fixed)
        return self._parameters[written]

    def check(self, node: NodeView, tensor: str, written: Written, integers: str | None) -> None:
        """Keeps what cannot hold of `written`; what was told of the tensor already is not told again."""
        for rule, message in faults(written, integers, self.view, self.fixed):
            self.faults.setdefault((rule, tensor), Fault(rule, node.name, tensor, message))

    def origin(self, *nodes: str) -> str:
        """The words of the recipe's line on the first of `nodes` that has some."""
        return next((self._origins[name] for name in nodes if name in self._origins), "")

    def dtype(self, tensor: str) -> str | None:
        found = self.view.tensors.get(tensor)
        return None if found is None else found.dtype

    def shape(self, *tensors: str) -> tuple[Dim, ...] | None:
        """The first shape that is known of `tensors`."""
        views = (self.view.tensors.get(name) for name in tensors)
        return next((view.shape for view in views if view is not None and view.shape is not None), None)

    def role(self, tensor: str, element: str) -> Role:
        """What a constant of `element`, dequantized as `tensor`, is to those that compute with it."""
        if element == "int32":
            return Role.BIAS
        waiting, seen = [tensor], {tensor}
        while waiting and len(seen) < _FURTHEST:
            for reader in readers_of(self.view, waiting.pop()):
                node = self.view.node(reader.node) if reader.node and reader.port >= 0 else None
                if node is None:
                    continue
                if _BIASES.get(node.op) == reader.port:
                    return Role.BIAS
                if (node.op in MOVES and reader.port == 0) or node.op in ("Cast", "Clip"):
                    ahead = [name for name in node.outputs if name and name not in seen]
                    seen.update(ahead)
                    waiting += ahead
        return Role.WEIGHT
