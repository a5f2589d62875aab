"""A graph as plain names and facts: what selectors, structure, plan and predictor read. No weights, nothing to edit.

Made once from a loaded model by `qdsl.graph.model.Model.view`; nodes are in topological order (stable: ties keep file
order), tensors are looked up by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

Dim = int | str | None
AttrValue = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a tensor is read: node index and input port."""

    node: int
    port: int


@dataclass(frozen=True, slots=True)
class TensorView:
    """A named value. `kind` is "input" (graph input), "constant" (initializer) or "activation" (written by a node).

    `shape` is None when unknown; a dim is an int, a symbol, or None. `dtype` is an ONNX element type in lower case
    ("float32", "int64", ...) or None when unknown. `producer` is the index of the node that writes it.
    """

    name: str
    kind: str
    dtype: str | None
    shape: tuple[Dim, ...] | None
    producer: int | None
    uses: tuple[Use, ...]
    is_output: bool

    @property
    def elements(self) -> int | None:
        """Number of elements, or None when a dimension is not a number."""
        if self.shape is None:
            return None
        total = 1
        for dim in self.shape:
            if not isinstance(dim, int):
                return None
            total *= dim
        return total


@dataclass(frozen=True, slots=True)
class NodeView:
    """One operator; `domain` is "" for those of ai.onnx. `inputs` holds tensor names by port, "" for an absent optional
    one. `attrs` holds scalars and tuples; a tensor or subgraph attribute is None (present, not shown). `scopes` are the
    module scopes it lives in, outermost first, each a full path such as `/model.22/cv2.0`. Names are unique within the
    graph. `bodies` are the graphs inside it (If, Loop, Scan), by attribute; what they read from outside is among their
    tensors."""

    index: int
    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, AttrValue]
    scopes: tuple[str, ...]
    bodies: Mapping[str, GraphView] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphView:
    """The whole graph. `small` holds the values, flattened to Python numbers, of constants of at most 64 elements (Clip
    bounds, axes, shapes, scales)."""

    nodes: tuple[NodeView, ...]
    tensors: Mapping[str, TensorView]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    small: Mapping[str, tuple[int | float | bool, ...]]
    model_name: str

    @cached_property
    def node_index(self) -> dict[str, int]:
        return {node.name: node.index for node in self.nodes}

    def node(self, name: str) -> NodeView:
        """The node called `name`; KeyError when there is none."""
        return self.nodes[self.node_index[name]]

    def producer(self, tensor: str) -> NodeView | None:
        """The node that writes `tensor`; None for graph inputs, constants and absent inputs."""
        found = self.tensors.get(tensor)
        return None if found is None or found.producer is None else self.nodes[found.producer]

    def consumers(self, tensor: str) -> tuple[NodeView, ...]:
        """The nodes that read `tensor`, one per node, in graph order."""
        found = self.tensors.get(tensor)
        seen = sorted({use.node for use in found.uses}) if found else []
        return tuple(self.nodes[i] for i in seen)

    def users(self, tensor: str) -> tuple[NodeView, ...]:
        """The nodes that read `tensor`, once for each input port; bodies, which read by name, are none."""
        found = self.tensors.get(tensor)
        return tuple(self.nodes[use.node] for use in found.uses if use.port >= 0) if found else ()

    def is_open(self, tensor: str) -> bool:
        """Whether `tensor` is seen by more than the nodes of the graph: as a graph output, or by name from a body."""
        found = self.tensors.get(tensor)
        return found is not None and (found.is_output or any(use.port < 0 for use in found.uses))

    def is_constant(self, tensor: str) -> bool:
        found = self.tensors.get(tensor)
        return found is not None and found.kind == "constant"
