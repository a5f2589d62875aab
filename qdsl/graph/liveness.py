"""How much memory activations take: which of them live at the same time, node after node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod

from qdsl.graph.dtypes import bits_by_name
from qdsl.graph.moves import RESHAPES
from qdsl.graph.view import GraphView, NodeView, TensorView

_FIRST, _LAST = -1, 1 << 62


def peak_activations(
    view: GraphView, *, bits: Mapping[str, int] | None = None, fused: Collection[str] = ()
) -> int | None:
    """The most bytes that activations take at the same time when nodes run in the order of the graph: what a node reads
    and writes, and what later nodes still read; inputs live until their last reader has run, outputs to the end.

    `bits` are the widths of tensors that are held in another type than the graph's; `fused` names nodes that run inside
    the one before them. Weights, and what a runtime needs for itself, are not in it. A free batch counts as one sample.
    None where a shape or a type is unknown.
    """
    widths, joined = bits or {}, frozenset(fused)
    owner: dict[str, str] = {}
    for node in view.nodes:
        if node.inputs and (node.op in RESHAPES or node.name in joined):
            source = _activation(view, node)
            owner |= {output: owner.get(source, source) for output in node.outputs[:1]} if source else {}
    spans: dict[str, tuple[int, int]] = {}
    sizes: dict[str, int] = {}
    for tensor in view.tensors.values():
        if tensor.kind == "constant" or not tensor.name:
            continue
        name = owner.get(tensor.name, tensor.name)
        width = widths.get(tensor.name) or bits_by_name(tensor.dtype)
        elements = _elements(tensor)
        if elements is None or width is None:
            return None
        sizes[name] = max(sizes.get(name, 0), (elements * width + 7) // 8)
        start = _FIRST if tensor.producer is None else tensor.producer
        end = _LAST if tensor.is_output else max((use.node for use in tensor.uses), default=start)
        known = spans.get(name, (start, end))
        spans[name] = (min(start, known[0]), max(end, known[1]))
    return _peak(spans, sizes, len(view.nodes))


def _elements(tensor: TensorView) -> int | None:
    shape = tensor.shape
    if shape and not isinstance(shape[0], int):
        shape = (1, *shape[1:])
    known = [dim for dim in shape or () if isinstance(dim, int)]
    return prod(known) if shape is not None and len(known) == len(shape) else None


def _activation(view: GraphView, node: NodeView) -> str:
    """The first input that is no constant; "" where there is none."""
    return next((name for name in node.inputs if name and not view.is_constant(name)), "")


def _peak(spans: Mapping[str, tuple[int, int]], sizes: Mapping[str, int], nodes: int) -> int:
    """The largest sum of sizes over all steps; a step is a node, and what it reads and writes lives during it."""
    change = [0] * (nodes + 3)
    for name, (start, end) in spans.items():
        change[start + 1] += sizes[name]
        change[min(end, nodes) + 2] -= sizes[name]
    most = held = 0
    for step in change:
        held += step
        most = max(most, held)
    return most
