"""Residual additions (He et al. 2015), found through dominators: where the two addends come from one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdsl.graph.neighbours import fixed, is_fixed, once_per_view, regular, weighted, writer
from qdsl.graph.view import GraphView, NodeView

_RESIZES = frozenset({"Resize", "Upsample", "ConvTranspose", "DepthToSpace"})
_NOWHERE = 0


@dataclass(frozen=True, slots=True)
class _Tree:
    """The dominator tree over vertices: 0 is "before everything", then the graph inputs, then the nodes.

    `weights` and `resizes` count such nodes on the way from the inputs that has most of them. A dominator lies on
    every way, so the difference between a vertex and its dominator is the most between the two.
    """

    vertex: Mapping[str, int]
    weights: tuple[int, ...]
    resizes: tuple[int, ...]
    depth: list[int]
    jumps: list[list[int]]


@once_per_view
def residual_skips(view: GraphView) -> dict[int, int]:
    """For each residual Add, by node index, the input port of its skip.

    An Add is residual when its two inputs have the same shape, both come from one tensor, and one of the two ways
    there passes a node with weights while the other passes none, or one (a downsampling convolution) without the
    first resizing the map (a feature pyramid's merge is no residual). The skip is the way with fewer weighted nodes;
    between equals the one with the smaller kernel, then the later port.
    """
    tree = _tree(view)
    found = {}
    for node in regular(view):
        port = _skip_port(view, tree, node) if node.op == "Add" and len(node.inputs) == 2 else None
        if port is not None:
            found[node.index] = port
    return found


@once_per_view
def residual_add(view: GraphView) -> frozenset[int]:
    """The Adds of `residual_skips`."""
    return frozenset(residual_skips(view))


def _skip_port(view: GraphView, tree: _Tree, node: NodeView) -> int | None:
    constant = fixed(view)
    if node.inputs[0] == node.inputs[1] or any(is_fixed(view, name, constant) for name in node.inputs):
        return None
    if not _same_shape(view, node.inputs[0], node.inputs[1]):
        return None
    ends = [tree.vertex.get(name, _NOWHERE) for name in node.inputs]
    fork = _meet(tree, ends[0], ends[1])
    if fork == _NOWHERE:
        return None
    weights = [tree.weights[end] - tree.weights[fork] for end in ends]
    resizes = [tree.resizes[end] - tree.resizes[fork] for end in ends]
    short = _shorter(view, node, weights)
    if max(weights) == 0 or weights[short] > 1:
        return None
    if weights[short] == 1 and (max(resizes) or not _chain(view, node.inputs[short])):
        return None
    return short


def _shorter(view: GraphView, node: NodeView, weights: list[int]) -> int:
    if weights[0] != weights[1]:
        return 0 if weights[0] < weights[1] else 1
    areas = [_kernel_area(view, name) for name in node.inputs]
    return 0 if areas[0] < areas[1] else 1


def _chain(view: GraphView, tensor: str) -> bool:
    """Whether few one-input nodes stand between `tensor` and the weighted node above it."""
    return _kernel_area(view, tensor) > 0


def _kernel_area(view: GraphView, tensor: str) -> int:
    """Elements of the kernel of the weighted node above `tensor`, at most four one-input nodes away; 0 for none."""
    for _ in range(5):
        node = writer(view, tensor)
        if node is None:
            return 0
        weight = weighted(view).get(node.index)
        if weight is not None:
            area = 1
            for size in weight.kernel or ():
                area *= size
            return area
        if sum(not view.is_constant(name) for name in node.inputs) != 1:
            return 0
        tensor = node.inputs[0]
    return 0


def _same_shape(view: GraphView, left: str, right: str) -> bool:
    """Whether both shapes are equal, as far as they are known: a broadcast is no residual."""
    shapes = [known.shape if (known := view.tensors.get(name)) else None for name in (left, right)]
    if shapes[0] is None or shapes[1] is None:
        return True
    pairs = list(zip(shapes[0], shapes[1], strict=False))
    same = all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    return len(shapes[0]) == len(shapes[1]) and same


def _tree(view: GraphView) -> _Tree:
    vertex = {name: 1 + place for place, name in enumerate(view.inputs)}
    first = 1 + len(view.inputs)
    for node in view.nodes:
        vertex.update({name: first + node.index for name in node.outputs if name})
    tree = _Tree(vertex, (), (), [0] + [1] * (first - 1), [[_NOWHERE] * first])
    weights, resizes = [0] * first, [0] * first
    heavy = weighted(view)
    for node in view.nodes:
        sources = sorted({vertex.get(name, _NOWHERE) for name in _sources(view, node)})
        parent = sources[0] if sources else _NOWHERE
        for source in sources[1:]:
            parent = _meet(tree, parent, source)
        _grow(tree, parent)
        weights.append(max((weights[s] for s in sources), default=0) + (node.index in heavy))
        resizes.append(max((resizes[s] for s in sources), default=0) + (node.op in _RESIZES))
    return _Tree(vertex, tuple(weights), tuple(resizes), tree.depth, tree.jumps)


def _sources(view: GraphView, node: NodeView) -> list[str]:
    constant = fixed(view)
    return [name for name in node.inputs if name and not is_fixed(view, name, constant)]


def _grow(tree: _Tree, parent: int) -> None:
    """Add a vertex under `parent`, with its jumps of 1, 2, 4, ... steps up (0 stands above itself)."""
    depth = tree.depth[parent] + 1
    while 1 << len(tree.jumps) <= depth:
        tree.jumps.append([_NOWHERE] * len(tree.depth))
    tree.depth.append(depth)
    at = parent
    for row in tree.jumps:
        row.append(at)
        at = row[at]


def _meet(tree: _Tree, left: int, right: int) -> int:
    """The lowest common dominator, in logarithmic time."""
    if tree.depth[left] < tree.depth[right]:
        left, right = right, left
    gap = tree.depth[left] - tree.depth[right]
    for level, row in enumerate(tree.jumps):
        if gap >> level & 1:
            left = row[left]
    if left == right:
        return left
    for row in reversed(tree.jumps):
        if row[left] != row[right]:
            left, right = row[left], row[right]
    return tree.jumps[0][left]
