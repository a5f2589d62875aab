"""Layers known by their shape: depthwise and pointwise convolutions, layer normalisation."""

from __future__ import annotations

from qdsl.graph.moves import RESHAPES
from qdsl.graph.neighbours import (
    CONVS,
    constant_operand,
    once_per_view,
    other_operand,
    readers,
    regular,
    weighted,
    writer,
)
from qdsl.graph.view import GraphView, NodeView

_LAYER_NORM_OPS = frozenset({"LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization"})
_MEANS = frozenset({"ReduceMean", "GlobalAveragePool"})
_AROUND = RESHAPES | {"Cast"}


@once_per_view
def depthwise(view: GraphView) -> frozenset[int]:
    """Convolutions with one group per input channel, and more than one channel."""
    return frozenset(
        index
        for index, weight in weighted(view).items()
        if view.nodes[index].op in CONVS and weight.groups == weight.in_channels and weight.groups > 1
    )


@once_per_view
def pointwise(view: GraphView) -> frozenset[int]:
    """Convolutions of one group whose kernel is 1 in every dimension."""
    return frozenset(
        index
        for index, weight in weighted(view).items()
        if view.nodes[index].op in CONVS and weight.groups == 1 and weight.kernel and set(weight.kernel) == {1}
    )


@once_per_view
def layer_norm(view: GraphView) -> frozenset[int]:
    """Layer normalisation (Ba et al. 2016): the operator, and every node of its spelled-out form.

    The spelled-out form is recognised by the mean, the mean of the squared difference, the square root and the
    normalised product, with gain and offset where they follow; the axes are not looked at. Root-mean-square
    normalisation, which subtracts no mean, is not one.
    """
    found = {node.index for node in view.nodes if node.op in _LAYER_NORM_OPS}
    for node in regular(view):
        if node.op == "Sqrt" or (node.op == "Pow" and constant_operand(view, node) in node.inputs[1:]):
            found |= _spelled(view, node)
    return frozenset(found)


def _spelled(view: GraphView, root: NodeView) -> set[int]:
    shifted = writer(view, root.inputs[0])
    if shifted is None or shifted.op != "Add" or constant_operand(view, shifted) is None:
        return set()
    variance = other_operand(shifted, constant_operand(view, shifted) or "")
    path: set[int] = {root.index, shifted.index}
    square = _mean_of(view, variance or "", path)
    deviation = None if square is None else _squared(view, square, path)
    if deviation is None or deviation.op != "Sub":
        return set()
    path.add(deviation.index)
    for x, mean in (deviation.inputs, deviation.inputs[::-1]):
        if _mean_of(view, mean, path) == x:
            return _normalised(view, root, {x, mean, deviation.outputs[0]}, path)
    return set()


def _mean_of(view: GraphView, tensor: str, path: set[int]) -> str | None:
    """The tensor whose mean `tensor` is, adding the nodes between to `path`; reshapes around the mean are allowed."""
    between: list[int] = []
    averaged = False
    for _ in range(4):
        node = writer(view, tensor)
        if node is None or node.op not in _MEANS | _AROUND or (averaged and node.op in _MEANS):
            break
        between.append(node.index)
        averaged = averaged or node.op in _MEANS
        tensor = node.inputs[0]
    if averaged:
        path.update(between)
    return tensor if averaged else None


def _squared(view: GraphView, tensor: str, path: set[int]) -> NodeView | None:
    """The node whose square `tensor` is."""
    node = writer(view, tensor)
    if node is None or not (node.op == "Pow" or (node.op == "Mul" and set(node.inputs) == {node.inputs[0]})):
        return None
    path.add(node.index)
    return writer(view, node.inputs[0])


def _normalised(view: GraphView, root: NodeView, known: set[str], path: set[int]) -> set[int]:
    """`path` with what follows the square root: the division or product, then one gain and one offset.

    A node joins when everything it reads is constant, already inside, or (for products only) the data itself.
    """
    inside, waiting, gains = set(root.outputs), [root.outputs[0]], 0
    while waiting:
        for node in readers(view, waiting.pop()):
            constants = [name for name in node.inputs if view.is_constant(name)]
            allowed = inside | (known if node.op in {"Div", "Mul"} else set()) | set(constants)
            if node.op not in {"Div", "Mul", "Reciprocal", "Sub", "Add"} or not set(node.inputs) <= allowed:
                continue
            if node.index in path or (node.op in {"Mul", "Div"} and constants and gains):
                continue
            gains += bool(node.op in {"Mul", "Div"} and constants)
            path.add(node.index)
            inside.add(node.outputs[0])
            if node.op != "Add":
                waiting.append(node.outputs[0])
    return path
