"""Tensors of a graph whose rows are chosen by value: of two models the same row may speak of different things."""

from __future__ import annotations

from collections.abc import Iterable

from qdsl.graph.view import GraphView, NodeView

# What these write has rows in an order, or of a number, that scores decide.
_CHOOSERS = frozenset(
    {
        *(("", op) for op in ("Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique")),
        *(("com.microsoft", op) for op in ("BeamSearch", "GreedySearch", "Sampling", "Unique")),
    }
)
_SIZES = frozenset({"Shape", "Size"})
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})

# What a quantized file writes: measures in steps.
_STORED = ("int8", "uint8")


def chosen_rows(view: GraphView) -> dict[str, str]:
    """By graph output why it cannot be compared row by row, in a few words; without those that can."""
    behind = behind_choosers(view)
    found = {}
    for name in dict.fromkeys(view.outputs):
        dtype = view.tensors[name].dtype
        if name in behind:
            found[name] = f"its rows are chosen by {behind[name].op} ({behind[name].name})"
        elif dtype is not None and dtype not in (*_FLOATS, *_STORED):
            found[name] = f"it holds {dtype}: numbers of things, not measures"
    return found


def behind_choosers(view: GraphView) -> dict[str, NodeView]:
    """By tensor the node that chose its rows, the first on the way to it; without those that nothing chose. What is
    chosen by shapes alone is the same for every model of the graph."""
    behind: dict[str, NodeView] = {}
    sizes: set[str] = set()
    for node in view.nodes:
        read = _read(node)
        if node.op in _SIZES or all(not name or view.is_constant(name) or name in sizes for name in read):
            sizes.update(node.outputs)
            continue
        origin = _chooser(node)
        for name in read:
            origin = origin or behind.get(name)
        if origin is not None:
            behind.update((name, origin) for name in node.outputs if name)
    return behind


def chosen_from(view: GraphView, outputs: Iterable[str]) -> list[str]:
    """The floats that the choosers behind `outputs` read, in graph order: what can be compared in their place."""
    behind = behind_choosers(view)
    choosers = {behind[name].name for name in outputs if name in behind}
    read = (name for node in view.nodes if node.name in choosers for name in node.inputs)
    found = (name for name in dict.fromkeys(read) if name and view.producer(name) is not None)
    return [name for name in found if view.tensors[name].dtype in _FLOATS and name not in view.outputs]


def _read(node: NodeView) -> list[str]:
    """What a node reads, and what the graphs inside it read."""
    inside = (each for body in node.bodies.values() for each in body.nodes)
    return [*node.inputs, *(name for each in inside for name in _read(each))]


def _chooser(node: NodeView) -> NodeView | None:
    """The node itself, or the first in the graphs inside it, that chooses rows."""
    if (node.domain, node.op) in _CHOOSERS:
        return node
    inside = (each for body in node.bodies.values() for each in body.nodes)
    return node if any(_chooser(each) is not None for each in inside) else None
