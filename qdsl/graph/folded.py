"""The value of a tensor that no input reaches, as the graph computes it: what a runtime folds when it loads a file."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Array, Held, Lazy, lazy_of
from qdsl.graph.dtypes import number_of
from qdsl.graph.evaluate import evaluate, one_node_model, output_bytes
from qdsl.graph.model import Model

_LARGEST = 2**24  # bytes of a value that is larger than what it is computed from
_DEEPEST = 32  # nodes behind each other
# The reference has no earlier versions; they say the same.
_QDQ, _QDQ_OPSET = ("QuantizeLinear", "DequantizeLinear"), 19
_PLAIN = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
DRAWN = frozenset({"Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"})


def folded(model: Model, name: str) -> Array | None:
    """The value of the tensor `name` by ONNX's reference implementation; None where it depends on an input or a body,
    is drawn, cannot be computed, or would be out of all proportion to what it is computed from."""
    tensor = model.tensor(name)
    value = None if tensor is None else _value(tensor, model.opset, _DEEPEST, {})
    return None if value is None else value.load()


def held(node: gs.Node) -> Lazy | None:
    """The value of a Constant node; None where it is text or sparse, and for any other node."""
    if node.op != "Constant" or node.domain or len(node.attrs) != 1:
        return None
    ((kind, value),) = node.attrs.items()
    if kind == "value" and isinstance(value, gs.Constant):
        return lazy_of(value)
    if kind in _PLAIN:
        array = np.asarray(value, _PLAIN[kind])
        return Held(array, number_of(array.dtype))
    return None


def _value(tensor: gs.Tensor, opset: int, depth: int, known: dict[str, Lazy | None]) -> Lazy | None:
    """`known` are the tensors that were asked for already: one that is read twice is computed once."""
    if isinstance(tensor, gs.Constant):
        return lazy_of(tensor)
    if tensor.name not in known:
        known[tensor.name] = _computed(tensor, opset, depth, known)
    return known[tensor.name]


def _computed(tensor: gs.Tensor, opset: int, depth: int, known: dict[str, Lazy | None]) -> Lazy | None:
    node = tensor.inputs[0] if len(tensor.inputs) == 1 and depth else None
    if node is not None and not node.inputs:
        return held(node)
    if node is None or node.domain or node.op in DRAWN:
        return None
    inputs = [_value(each, opset, depth - 1, known) if each.name else None for each in node.inputs]
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
