"""The value of a tensor that no input reaches, as the graph computes it: what a runtime folds when it loads a file."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from qdsl.graph.constants import Array, Held, Lazy, lazy_of
from qdsl.graph.dtypes import number_of
from qdsl.graph.evaluate import evaluate, one_node_model, output_bytes
from qdsl.graph.model import Model

_LARGEST = 2**24  # bytes of a value that is larger than what it is computed from
_DEEPEST = 32  # nodes behind each other
# The reference has no earlier versions; they say the same.
_QDQ, _QDQ_OPSET = ("QuantizeLinear", "DequantizeLinear"), 19
_DRAWN = frozenset({"Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"})


def folded(model: Model, name: str) -> Array | None:
    """The value of the tensor `name` by ONNX's reference implementation; None where it depends on an input or a body,
    is drawn, cannot be computed, or would be out of all proportion to what it is computed from."""
    tensor = model.tensor(name)
    value = None if tensor is None else _value(tensor, model.opset, _DEEPEST)
    return None if value is None else value.load()


def _value(tensor: gs.Tensor, opset: int, depth: int) -> Lazy | None:
    if isinstance(tensor, gs.Constant):
        return lazy_of(tensor)
    node = tensor.inputs[0] if len(tensor.inputs) == 1 and depth else None
    if node is None or node.domain or node.op in _DRAWN or not node.inputs:
        return None
    inputs = [_value(each, opset, depth - 1) if each.name else None for each in node.inputs]
    if any(value is None and each.name for value, each in zip(inputs, node.inputs, strict=True)):
        return None
    size = output_bytes(node, inputs, opset)
    if size is None or size > max(_LARGEST, sum(value.nbytes for value in inputs if value is not None) * 4):
        return None
    try:
        version = max(opset, _QDQ_OPSET) if node.op in _QDQ else opset
        found = evaluate(one_node_model(node, version), inputs)
    except Exception:  # the reference raises whatever numpy raises on ill-formed input
        return None
    array = found[[each.name for each in node.outputs if each.name].index(tensor.name)]
    return Held(array, number_of(array.dtype))
