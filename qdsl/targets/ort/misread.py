"""What fused kernels of ONNX Runtime do not read of a QDQ file: scales along another axis, float weights, biases in own
steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.graph import Model
from qdsl.graph.folded import folded
from qdsl.graph.view import GraphView, NodeView
from qdsl.targets.base import Misread
from qdsl.targets.results import Operand, Product

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
    "rounded": "the kernel reads int8 that the runtime makes of the float weight, with one scale for all channels",
    "bias": "the kernel adds the integers of the bias in steps that are not its own",
    "range": "the float bias is past what int32 holds in the kernel's steps, and becomes another number",
}


def misread(model: Model, view: GraphView, products: Iterable[Product]) -> Misread | None:
    """The nodes, by why, that are fused into something else than the file says; `products` are those of its kernels.
    Reads weights, scales and biases."""
    fused = {product.node: product.weight for product in products if product.kernel in _FUSED}
    found: dict[str, list[str]] = {}
    for node in view.nodes:
        fault = _fault(model, view, node, fused.get(node.name))
        if fault:
            found.setdefault(_WHY[fault], []).append(node.name)
    return Misread(found, _CURES) if found else None


def _fault(model: Model, view: GraphView, node: NodeView, kernel: Operand | None) -> str:
    """What of a Conv or Gemm between Q/DQ nodes the runtime does not read: a key of `_WHY`, or "". `kernel`: the weight
    as it is fused, if it is."""
    if node.op not in ("Conv", "Gemm") or node.domain:
        return ""
    other = "" if kernel is None else _weight_fault(model, view, node, kernel)
    data = _dequantized(view, node, 0)
    scale = _written_scale(model, view, node) if kernel is None else kernel.scale
    if other or data is None or scale is None:
        return other
    first = _value(model, view, data.inputs[1])
    if first is None or first.size != 1:
        return ""
    steps = np.float64(first.reshape(())) * scale.astype(np.float64).ravel()
    return _bias_fault(model, view, node, steps, kernel is not None)


def _weight_fault(model: Model, view: GraphView, node: NodeView, kernel: Operand) -> str:
    """Where the kernel multiplies with something else than the weight that the graph computes."""
    meant = folded(model, node.inputs[1])
    if meant is None or kernel.codes is None or kernel.scale is None or meant.shape != kernel.codes.shape:
        return ""
    axis = _channels(node)
    if any(each is not None and each.size not in (1, meant.shape[axis]) for each in (kernel.scale, kernel.zero)):
        return "axis"
    along = [-1 if at == axis else 1 for at in range(meant.ndim)]
    zero = 0 if kernel.zero is None else kernel.zero.astype(np.float32).reshape(along)
    scale = kernel.scale.reshape(along)
    apart = np.abs((kernel.codes.astype(np.float32) - zero) * scale - meant)
    if not (apart > _TOLERANCE * np.abs(scale)).any():
        return ""
    return "axis" if _from_integers(view, node.inputs[1]) else "rounded"


def _channels(node: NodeView) -> int:
    """The axis of the output channels of a weight."""
    return 0 if node.op == "Conv" or node.attrs.get("transB", 0) else 1


def _from_integers(view: GraphView, name: str) -> bool:
    """Whether a weight comes from a DequantizeLinear."""
    writer = view.producer(name)
    while writer is not None and writer.op != "DequantizeLinear":
        writer = view.producer(writer.inputs[0])
    return writer is not None


def _written_scale(model: Model, view: GraphView, node: NodeView) -> NDArray[Any] | None:
    """Of the weight of a node that is not fused, where it is along the output channels."""
    weight = _dequantized(view, node, 1)
    scale = None if weight is None else _value(model, view, weight.inputs[1])
    if weight is None or scale is None:
        return None
    return scale if scale.size == 1 or _axis(view, weight) == _channels(node) else None


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
