"""A graph to look at as a pass looks at a `Model`, without values and cheap to make: what a lowering foresees on.

Nodes and tensors have the names and links of graphsurgeon's, so that one matcher reads both. The names of tensors that
are added mean nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from qdsl.graph.constants import Array, Constant, Lazy
from qdsl.graph.dtypes import type_number
from qdsl.graph.edit import readers_of
from qdsl.graph.view import AttrValue, GraphView, NodeView, TensorView
from qdsl.graph.walk import Linked, Steps

Slot = tuple["Node", int]


class Looked(Steps[Any, Any], Protocol):
    """A graph that is only looked at: a `Model`, or a `Sketch` of one."""

    @property
    def opset(self) -> int: ...

    def nodes(self) -> list[Any]: ...


class Node:
    """As graphsurgeon's."""

    __slots__ = ("attrs", "domain", "inputs", "name", "op", "outputs")

    def __init__(self, name: str, op: str, domain: str, attrs: dict[str, AttrValue]) -> None:
        self.name = name
        self.op = op
        self.domain = domain
        self.attrs = attrs
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []


class Tensor:
    """As graphsurgeon's: `inputs` are the nodes that write it, `outputs` those that read it, once per port."""

    __slots__ = ("dtype", "inputs", "name", "outputs", "shape")

    def __init__(self, name: str, dtype: str | None, shape: Sequence[Any] | None) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []


class _Unread(Lazy):
    """A constant of which a sketch knows the values only where a view has them."""

    def __init__(self, name: str, element_type: int, shape: tuple[int, ...], small: Sequence[Any] | None) -> None:
        super().__init__(element_type, shape)
        self._name = name
        self._small = small

    def load(self) -> Array:
        if self._small is None:
            raise KeyError(f"a sketch has no values of {self._name}")
        return np.asarray(self._small).reshape(self.shape)


class Sketch(Linked):
    """The graph of a view, to be drawn on: with nodes put in between, and others read."""

    def __init__(self, view: GraphView) -> None:
        self.view = view
        self.opset = view.opset
        self._tensors = {name: _tensor(tensor, view) for name, tensor in view.tensors.items()}
        self._captured = {t.name for t in view.tensors.values() if any(use.port < 0 for use in t.uses)}
        self._outputs = {id(self._tensors[name]) for name in view.outputs}
        self._nodes = [self._node(node) for node in view.nodes]
        self._removed: set[int] = set()
        self._at = {node.name: node for node in self._nodes}

    def nodes(self) -> list[Node]:
        """Those of the view, then what was added."""
        return [node for node in self._nodes if id(node) not in self._removed]

    def node(self, name: str) -> Node:
        return self._at[name]

    def tensor(self, name: str) -> Any:
        """The tensor that the view calls so."""
        return self._tensors[name]

    def is_output(self, tensor: Any) -> bool:
        return id(tensor) in self._outputs

    def captured(self, tensor: Any) -> bool:
        return tensor.name in self._captured

    def constant(self, dtype: str, shape: tuple[int, ...]) -> Constant:
        """A constant of which only this is known."""
        return _constant("", dtype, shape, None)

    def add(self, op: str, inputs: Sequence[Any], dtype: str, domain: str = "", like: Any = None) -> Tensor:
        """What a new node writes, of the shape of its first input, or of what it is `like`."""
        node = Node("", op, domain, {})
        for tensor in inputs:
            node.inputs.append(tensor)
            tensor.outputs.append(node)
        written = Tensor("", dtype, (inputs[0] if like is None else like).shape)
        written.inputs.append(node)
        node.outputs.append(written)
        self._nodes.append(node)
        return written

    def remove(self, node: Node) -> None:
        """The node is gone, and reads nothing."""
        self._removed.add(id(node))
        for tensor in {id(tensor): tensor for tensor in node.inputs}.values():
            tensor.outputs[:] = [reader for reader in tensor.outputs if reader is not node]

    def redirect(self, old: Any, new: Any, slots: Collection[Slot]) -> None:
        """These ports, which read `old`, read `new`."""
        moved = {(id(node), port) for node, port in slots}
        left = [(node, port) for node, port in readers_of(old) if (id(node), port) not in moved]
        for node, port in slots:
            node.inputs[port] = new
            new.outputs.append(node)
        old.outputs[:] = [node for node, _ in left]

    def publish(self, old: Any, new: Any) -> None:
        """The graph output `old` is `new`."""
        self._outputs.remove(id(old))
        self._outputs.add(id(new))

    def _node(self, node: NodeView) -> Node:
        made = Node(node.name, node.op, node.domain, dict(node.attrs))
        made.inputs = self._linked(node.inputs)
        made.outputs = self._linked(node.outputs)
        for tensor in made.inputs:
            tensor.outputs.append(made)
        for tensor in made.outputs:
            tensor.inputs.append(made)
        return made

    def _linked(self, names: Iterable[str]) -> list[Any]:
        return [self._tensors[name] if name else Tensor("", None, None) for name in names]


def _tensor(tensor: TensorView, view: GraphView) -> Any:
    if tensor.kind != "constant" or tensor.dtype is None:
        return Tensor(tensor.name, tensor.dtype, tensor.shape)
    dims = tuple(dim for dim in tensor.shape or () if isinstance(dim, int))
    return _constant(tensor.name, tensor.dtype, dims, view.small.get(tensor.name))


def _constant(name: str, dtype: str, shape: tuple[int, ...], small: Sequence[Any] | None) -> Constant:
    """Without what graphsurgeon's own initializer does about types that it cannot size."""
    made = Constant.__new__(Constant)
    value = _Unread(name, type_number(dtype), shape, small)
    made.__dict__.update(name=name, inputs=[], outputs=[], _values=value)
    return made
