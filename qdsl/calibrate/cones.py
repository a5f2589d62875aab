"""How far a rounding is followed: from the nodes that read a tensor to the next tensors that are rounded themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from qdsl.calibrate.shortcuts import FLOATS
from qdsl.graph.moves import MOVES
from qdsl.graph.view import GraphView, NodeView

_MOST_NODES, _DEEPEST = 32, 12
Place = tuple[str, int]  # a node and one of its input ports


@dataclass(frozen=True, slots=True)
class Cone:
    """`nodes`, in graph order, compute from rounded values; what they write into `ends` is compared with the float
    model's. `own` are rounded tensors that are compared themselves: nothing tells what their readers make of them."""

    nodes: tuple[NodeView, ...]
    ends: tuple[str, ...]
    own: tuple[str, ...]


def cone(view: GraphView, readers: Mapping[str, Iterable[Place]], stops: Collection[str]) -> Cone:
    """The cone of tensors that are rounded alike, with the places that read each (node "" for a graph output); it ends
    at the tensors `stops` and at graph outputs."""
    places: dict[int, set[int]] = {}
    own: dict[str, None] = {}
    for tensor, read in readers.items():
        for name, port in read:
            node = view.node(name) if name else None
            if node is None or not _followed(view, node):
                own[tensor] = None
            elif not (node.op in MOVES and any(output in readers for output in node.outputs)):
                places.setdefault(node.index, set()).add(port)
    ends: dict[str, None] = {}
    nodes: dict[int, NodeView] = {}
    depth: dict[str, int] = {}
    waiting = sorted(places)
    while waiting:
        node = view.nodes[waiting.pop(0)]
        if node.index in nodes:
            continue
        nodes[node.index] = node
        deep = 1 + max((depth.get(name, 0) for name in node.inputs), default=0)
        full = deep >= _DEEPEST or len(nodes) + len(waiting) >= _MOST_NODES
        for output in (name for name in node.outputs if name and _counts(view, name)):
            behind = view.consumers(output)
            if full or output in stops or view.is_open(output) or not all(_followed(view, each) for each in behind):
                ends[output] = None
                continue
            depth[output] = deep
            waiting = sorted({*waiting, *(each.index for each in behind)})
    return Cone(tuple(nodes[index] for index in sorted(nodes)), tuple(ends), tuple(own))


def _counts(view: GraphView, name: str) -> bool:
    return bool(view.tensors[name].uses) or view.tensors[name].is_output


def _followed(view: GraphView, node: NodeView) -> bool:
    """Whether what `node` makes of rounded values can be compared."""
    made = [view.tensors[name] for name in node.outputs if name]
    return not node.bodies and all(tensor.dtype in FLOATS for tensor in made)
