"""Multiply-accumulates per node, from shapes."""

from __future__ import annotations

from math import prod

from qdsl.graph.view import Dim, GraphView, NodeView

Shape = tuple[int, ...]


def macs(view: GraphView, node: NodeView) -> int | None:
    """Multiply-accumulates of one inference of one sample; None where the shapes do not say, or nothing multiplies.

    Conv: output elements x (input channels / groups) x kernel; ConvTranspose: the same from its input elements;
    Gemm and MatMul: output elements x inner dimension. A free batch dimension counts as 1.
    """
    match node.op:
        case "Conv":
            return _times(_size(view, node.outputs[0]), _per_filter(view, node))
        case "ConvTranspose":
            return _times(_size(view, node.inputs[0]), _per_filter(view, node))
        case "Gemm":
            inner = 0 if node.attrs.get("transA") else 1
            return _times(_size(view, node.outputs[0]), _dim(view, node.inputs[0], inner))
        case "MatMul":
            return _times(_size(view, node.outputs[0]), _dim(view, node.inputs[0], -1))
        case _:
            return None


def _per_filter(view: GraphView, node: NodeView) -> int | None:
    weight = _shape(view, node.inputs[1]) if len(node.inputs) > 1 else None
    return None if weight is None or len(weight) < 2 else prod(weight[1:])


def _size(view: GraphView, tensor: str) -> int | None:
    shape = _shape(view, tensor)
    return None if shape is None else prod(shape)


def _dim(view: GraphView, tensor: str, axis: int) -> int | None:
    shape = _shape(view, tensor)
    return None if shape is None or len(shape) < 2 else shape[axis]


def _shape(view: GraphView, tensor: str) -> Shape | None:
    found = view.tensors.get(tensor)
    if found is None or found.shape is None:
        return None
    dims = [_known(dim, at == 0) for at, dim in enumerate(found.shape)]
    return None if None in dims else tuple(dim for dim in dims if dim is not None)


def _known(dim: Dim, is_batch: bool) -> int | None:
    if isinstance(dim, int):
        return dim
    return 1 if is_batch else None


def _times(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else left * right
