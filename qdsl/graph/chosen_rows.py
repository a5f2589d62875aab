"""Outputs of a graph whose rows are chosen by value: of two models the same row may speak of different things."""

from __future__ import annotations

from qdsl.graph.view import GraphView, NodeView

# What these write has rows in an order, or of a number, that scores decide.
_CHOOSERS = frozenset(
    {
        *(("", op) for op in ("Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique")),
        *(("com.microsoft", op) for op in ("BeamSearch", "GreedySearch", "Sampling", "Unique")),
    }
)
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})

# What a quantized file writes: measures in steps.
_STORED = ("int8", "uint8")


def chosen_rows(view: GraphView) -> dict[str, str]:
    """By graph output why it cannot be compared row by row, in a few words; without those that can."""
    behind: dict[str, NodeView] = {}
    for node in view.nodes:
        origin = node if (node.domain, node.op) in _CHOOSERS else None
        for name in node.inputs:
            origin = origin or behind.get(name)
        if origin is not None:
            behind.update((name, origin) for name in node.outputs if name)
    found = {}
    for name in dict.fromkeys(view.outputs):
        dtype = view.tensors[name].dtype
        if name in behind:
            found[name] = f"its rows are chosen by {behind[name].op} ({behind[name].name})"
        elif dtype is not None and dtype not in (*_FLOATS, *_STORED):
            found[name] = f"it holds {dtype}: numbers of things, not measures"
    return found
