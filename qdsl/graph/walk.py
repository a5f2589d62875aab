"""Steps from node to node: the same over a model that is edited and over its view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

Tensor = TypeVar("Tensor", contravariant=True)
Node = TypeVar("Node", covariant=True)


class Steps(Protocol[Tensor, Node]):
    """A graph as far as one can walk in it: a `Model` by its tensors, a `GraphView` by their names."""

    def producer(self, tensor: Tensor) -> Node | None:
        """The node that writes `tensor`."""
        ...

    def users(self, tensor: Tensor) -> Sequence[Node]:
        """The nodes that read `tensor`, once for each input port."""
        ...

    def is_open(self, tensor: Tensor) -> bool:
        """Whether anything but those can see `tensor`: it is a graph output, or read by name."""
        ...


def inner(graph: Steps[Tensor, Node], tensor: Tensor, ports: int = 1) -> bool:
    """Whether so many input ports are all that reads `tensor`."""
    return len(graph.users(tensor)) == ports and not graph.is_open(tensor)


def only_reader(graph: Steps[Tensor, Node], tensor: Tensor) -> Node | None:
    """The node that reads `tensor` at one port, where nothing else does."""
    return graph.users(tensor)[0] if inner(graph, tensor) else None


def only_writer(graph: Steps[Tensor, Node], tensor: Tensor) -> Node | None:
    """What writes `tensor`, where it does so for one port of one node alone."""
    return graph.producer(tensor) if inner(graph, tensor) else None
