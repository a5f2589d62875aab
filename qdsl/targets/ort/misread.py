"""What fused kernels of ONNX Runtime do not read of a QDQ file: scales along another axis, biases in own steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.graph import Model
from qdsl.graph.view import GraphView, NodeView
from qdsl.spec.plan import Prediction
from qdsl.targets.base import Misread

_BIAS = 2
_FUSED = ("QLinearConv", "QGemm")
# The runtime leaves a Conv in float whose bias is this far from steps of the products; of a Gemm it asks nothing.
_TOLERANCE = 0.01
_LARGEST = 2.0**31
_CURES = (
    "where a program may set session options, `session.disable_quant_qdq` = 1 runs the file as it is written, in float",
    "quantize the float model with qdsl, or write the file anew: weights with a scale per output channel (`axis` 0 of "
    "a Conv), biases as int32 in steps of the input's scale times the weight's",
)
_WHY = {
    "axis": "the kernel takes scales along another axis for those of the output channels",
    "bias": "the kernel adds the integers of the bias in steps that are not its own",
    "range": "the float bias is past what int32 holds in the kernel's steps, and becomes another number",
}


def misread(model: Model, view: GraphView, predictions: Mapping[str, Prediction]) -> Misread | None:
    """The nodes, by why, that are fused into something else than the file says; `predictions` say what runs. Reads
    scales and biases."""
    found: dict[str, list[str]] = {}
    for node in view.nodes:
        prediction = predictions.get(node.name)
        fault = _fault(model, view, node, fused=prediction is not None and prediction.kernel in _FUSED)
        if fault:
            found.setdefault(_WHY[fault], []).append(node.name)
    return Misread(found, _CURES) if found else None


def _fault(model: Model, view: GraphView, node: NodeView, *, fused: bool) -> str:
    """What of a Conv or Gemm between Q/DQ nodes the runtime does not read: a key of `_WHY`, or ""."""
    if node.op not in ("Conv", "Gemm") or node.domain:
        return ""
    data, weight = _dequantized(view, node, 0), _dequantized(view, node, 1)
    if data is None or weight is None:
        return ""
    scale = _value(model, view, weight.inputs[1])
    if scale is None:
        return ""
    if scale.size > 1 and _axis(view, weight) != (0 if node.op == "Conv" or node.attrs.get("transB", 0) else 1):
        return "axis" if fused else ""
    first = _value(model, view, data.inputs[1])
    if first is None or first.size != 1:
        return ""
    return _bias_fault(model, view, node, np.float64(first.reshape(())) * scale.astype(np.float64).ravel(), fused)


def _bias_fault(model: Model, view: GraphView, node: NodeView, steps: NDArray[np.float64], fused: bool) -> str:
    """Of a bias beside products in `steps`, one or one per output channel. A float bias, if it is a vector with a step
    for each, is made int32 whether the node then runs in integers or not."""
    bias = _value(model, view, node.inputs[_BIAS]) if len(node.inputs) > _BIAS else None
    if bias is not None:
        made = bias.dtype.kind == "f" and bias.ndim == 1 and steps.size in (1, bias.size)
        return "range" if made and (np.abs(bias) >= _LARGEST * steps).any() else ""
    integers = _dequantized(view, node, _BIAS)
    own = _value(model, view, integers.inputs[1]) if integers is not None else None
    if own is None or node.op != "Gemm" or not fused or len({1, own.size, steps.size}) > 2:
        return ""
    return "bias" if (np.abs(own.ravel() - steps) > _TOLERANCE * steps).any() else ""


def _dequantized(view: GraphView, node: NodeView, port: int) -> NodeView | None:
    """The DequantizeLinear before an input, if there is one."""
    writer = view.producer(node.inputs[port]) if port < len(node.inputs) else None
    return writer if writer is not None and writer.op == "DequantizeLinear" else None


def _value(model: Model, view: GraphView, name: str) -> NDArray[Any] | None:
    return model.values(name) if name and view.is_constant(name) else None


def _axis(view: GraphView, weight: NodeView) -> int:
    """Of the scales of a DequantizeLinear, counted from the front; ONNX's default is 1."""
    axis, shape = weight.attrs.get("axis", 1), view.tensors[weight.inputs[0]].shape
    assert isinstance(axis, int), "loading checks attributes"
    return axis + len(shape) if axis < 0 and shape is not None else axis
