"""What counting multiplications reads of a graph: sizes and dimensions, a free batch as 1, None for what is not
known."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from qdsl.graph.view import GraphView, NodeView


def shape(view: GraphView, tensor: str, batch: int = 0) -> tuple[int | None, ...] | None:
    """The dims of a tensor, None where free; that of axis `batch` is then 1."""
    found = view.tensors.get(tensor)
    if found is None or found.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else 1 if at == batch else None for at, dim in enumerate(found.shape))


def size(view: GraphView, tensor: str) -> int | None:
    """How many elements a tensor has."""
    found = shape(view, tensor)
    return None if found is None else times(*found)


def dim(view: GraphView, tensor: str, axis: int) -> int | None:
    """One dimension of a tensor, which is no batch."""
    found = shape(view, tensor, -1)
    if found is None or not -len(found) <= axis < len(found):
        return None
    return found[axis]


def times(*factors: int | None) -> int | None:
    """The product; nothing times the unknown is nothing."""
    known = [factor for factor in factors if factor is not None]
    if 0 in known:
        return 0
    return prod(known) if len(known) == len(factors) else None


def total(parts: Iterable[int | None]) -> int | None:
    """The sum, None when a part is."""
    found = 0
    for part in parts:
        if part is None:
            return None
        found += part
    return found


def given(node: NodeView, port: int) -> str:
    """The tensor at an input port, "" where there is none."""
    return node.inputs[port] if port < len(node.inputs) else ""
