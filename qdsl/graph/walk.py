"""Steps from node to node: the same over a model that is edited and over its view."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar


class Operator(Protocol):
    """What a node says of itself."""

    @property
    def op(self) -> str: ...

    @property
    def domain(self) -> str: ...

    @property
    def inputs(self) -> Sequence[Any]: ...


Tensor = TypeVar("Tensor", contravariant=True)
Node = TypeVar("Node", bound=Operator, covariant=True)


class Steps(Protocol[Tensor, Node]):
    """A graph as far as one can walk in it: by its tensors where they are linked, by their names in a `GraphView`."""

    def producer(self, tensor: Tensor) -> Node | None:
        """The node that writes `tensor`."""
        ...

    def users(self, tensor: Tensor) -> Sequence[Node]:
        """The nodes that read `tensor`, once for each input port."""
        ...

    def is_open(self, tensor: Tensor) -> bool:
        """Whether anything but those can see `tensor`: it is a graph output, or read by name."""
        ...


class Linked(ABC):
    """Steps over tensors that hold the nodes which write and read them, as those of graphsurgeon do."""

    def producer(self, tensor: Any) -> Any:
        """The node that writes `tensor`; None for graph inputs, constants and absent inputs."""
        return writer(tensor)

    def users(self, tensor: Any) -> Sequence[Any]:
        """The nodes that read `tensor`, once for each input port."""
        found: Sequence[Any] = tensor.outputs
        return found

    def is_open(self, tensor: Any) -> bool:
        """Whether `tensor` is seen by more than the nodes of the graph: as a graph output, or by name."""
        return self.is_output(tensor) or self.captured(tensor)

    @abstractmethod
    def is_output(self, tensor: Any) -> bool:
        """Whether `tensor` is a graph output."""

    @abstractmethod
    def captured(self, tensor: Any) -> bool:
        """Whether something refers to `tensor` by its name."""


def writer(tensor: Any) -> Any:
    """The node that writes a linked tensor; None for graph inputs, constants and absent inputs."""
    return tensor.inputs[0] if tensor.inputs else None


def inner(graph: Steps[Tensor, Node], tensor: Tensor, ports: int = 1) -> bool:
    """Whether so many input ports are all that reads `tensor`."""
    return len(graph.users(tensor)) == ports and not graph.is_open(tensor)


def only_reader(graph: Steps[Tensor, Node], tensor: Tensor) -> Node | None:
    """The node that reads `tensor` at one port, where nothing else does."""
    return graph.users(tensor)[0] if inner(graph, tensor) else None


def only_writer(graph: Steps[Tensor, Node], tensor: Tensor) -> Node | None:
    """What writes `tensor`, where it does so for one port of one node alone."""
    return graph.producer(tensor) if inner(graph, tensor) else None


def chain(graph: Steps[Any, Node], tensor: Any, *ops: str) -> tuple[Node, ...] | None:
    """The nodes through which the data came to `tensor`, where these are `ops` of ai.onnx in this order, each reading
    the one before at its first port; the last one writes `tensor`."""
    found: list[Node] = []
    for op in reversed(ops):
        node = graph.producer(tensor)
        if node is None or node.op != op or node.domain or not node.inputs:
            return None
        found.append(node)
        tensor = node.inputs[0]
    return tuple(reversed(found))
