"""A file made ready to be lowered: a batch of 1, every shape known, and what no input reaches computed."""

from __future__ import annotations

import onnx

from qdsl.graph import Model, from_proto
from qdsl.graph.folded import folded
from qdsl.graph.view import GraphView, NodeView
from qdsl.integer.lower_errors import LoweringError
from qdsl.integer.lower_layout import Shape
from qdsl.integer.lower_values import Array


class File:
    """The model of a file and its view, and the values of its constants."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.model: Model = _single(from_proto(proto))
        self.view: GraphView = self.model.view()
        self._folded: dict[str, Array | None] = {}

    def shape(self, tensor: str, node: NodeView | None = None) -> Shape:
        """The shape of a tensor. Raises LoweringError, at `node`, where it is not a matter of numbers alone."""
        found = self.view.tensors.get(tensor)
        dims = None if found is None else found.shape
        whole = tuple(dim for dim in dims or () if isinstance(dim, int))
        if dims is None or len(whole) != len(dims):
            shown = "unknown" if dims is None else "[" + ", ".join(str(dim or "?") for dim in dims) + "]"
            raise _at(node, tensor, f"the shape of `{tensor[:80]}` is {shown}: every size has to be known")
        return whole

    def constant(self, tensor: str) -> Array | None:
        """The value of a tensor that no input reaches, None for any other."""
        if tensor not in self._folded:
            found = self.view.tensors.get(tensor)
            stored = found is not None and found.kind == "constant"
            self._folded[tensor] = self.model.values(tensor) if stored else None
        return self._folded[tensor]

    def computed(self, tensor: str) -> Array | None:
        """The value of what a node writes of constants alone, by ONNX's reference; None where that does not do."""
        return folded(self.model, tensor)


def _at(node: NodeView | None, tensor: str, reason: str) -> LoweringError:
    return (
        LoweringError(node.name, node.op, reason)
        if node is not None
        else LoweringError("", f"tensor `{tensor}`", reason)
    )


def _single(model: Model) -> Model:
    """`model` for one sample: the first dim of an input becomes 1 where it is free. Raises LoweringError for a batch of
    another size, and for any other free dim."""
    for tensor in list(model.graph.inputs):
        shape = tensor.shape
        what = f"input `{tensor.name[:80]}`"
        if shape is None:
            raise LoweringError("", what, "its shape is not known")
        if not shape:
            continue
        if isinstance(shape[0], int) and shape[0] != 1 and len(shape) > 1:
            raise LoweringError("", what, f"a batch of {shape[0]}: a microcontroller computes one sample at a time")
        if not all(isinstance(dim, int) for dim in (shape[1:] or shape)):
            raise LoweringError("", what, f"its shape {list(shape)} is not fixed")
        if not isinstance(shape[0], int):
            model.set_shape(tensor.name, (1, *shape[1:]))
    return model
