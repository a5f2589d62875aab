"""In what the outputs of a file are held against those of its float twin."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.causes.errors import Part
from qdsl.graph.chosen_rows import chosen_from, chosen_rows
from qdsl.graph.view import GraphView, NodeView

# On the way from a Concat to the output, these keep what it joined where it was.
_KEEPS = frozenset({"QuantizeLinear", "DequantizeLinear", "Identity", "Cast"})
_MOST_PARTS = 16
# Of outputs with so few numbers that errors cancel out by chance, more samples are looked at.
_SAMPLES, _FEW_NUMBERS, _MORE_SAMPLES = 4, 100, 16


def samples_for(view: GraphView) -> int:
    """How many samples tell causes apart: 4, and 16 where the outputs hold fewer than 100 numbers in all."""
    numbers = [view.tensors[part.output].elements for part in parts_of(view)]
    few = all(each is not None for each in numbers) and sum(each or 0 for each in numbers) < _FEW_NUMBERS
    return _MORE_SAMPLES if few else _SAMPLES


def parts_of(view: GraphView) -> list[Part]:
    """The outputs whose rows nothing chose, and in place of the others the floats that are chosen from. What a Concat
    joined to one output (boxes of hundreds of pixels, scores of at most 1) is compared piece by piece: the loud would
    hide the quiet."""
    out = chosen_rows(view)
    names = [name for name in dict.fromkeys(view.outputs) if name not in out] + chosen_from(view, out)
    return [part for name in names for part in _parts(view, name)]


def _parts(view: GraphView, name: str) -> Iterator[Part]:
    node = _joining(view, name)
    bounds = _bounds(view, node) if node is not None else []
    if node is None or not 2 <= len(bounds) <= _MOST_PARTS:
        yield Part(name)
        return
    axis, rank = node.attrs.get("axis"), len(view.tensors[node.inputs[0]].shape or ())
    for start, end in bounds:
        yield Part(name, axis % rank if isinstance(axis, int) else None, start, end)


def _joining(view: GraphView, name: str) -> NodeView | None:
    node = view.producer(name)
    while node is not None and node.op in _KEEPS and node.inputs:
        node = view.producer(node.inputs[0])
    return node if node is not None and node.op == "Concat" and isinstance(node.attrs.get("axis"), int) else None


def _bounds(view: GraphView, node: NodeView) -> list[tuple[int, int]]:
    """Where each input of a Concat begins and ends; none where that is not known."""
    axis, found, start = node.attrs["axis"], [], 0
    for name in node.inputs:
        shape = view.tensors[name].shape
        if not isinstance(axis, int) or not shape or not -len(shape) <= axis < len(shape):
            return []
        size = shape[axis]
        if not isinstance(size, int):
            return []
        found.append((start, start + size))
        start += size
    return found
