"""Scales of a file that is measured as it is which the runtime's fused kernels do not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, Severity
from qdsl.graph.view import NodeView
from qdsl.plan import Decisions
from qdsl.spec.plan import AS_IT_IS
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_SHOWN = 3
_NAME = 60
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


def unread_scales(prepared: Prepared, decided: Decisions) -> Iterator[Diagnostic]:
    """One warning about all nodes that are fused into something else than the file says, under `quantize none`. Reads
    scales and biases."""
    if decided.plan.mode != AS_IT_IS:
        return
    found: dict[str, list[str]] = {}
    for node in prepared.view.nodes:
        prediction = decided.predictions.get(node.name)
        fault = _fault(prepared, node, fused=prediction is not None and prediction.kernel in _FUSED)
        if fault:
            found.setdefault(fault, []).append(node.name)
    count = sum(map(len, found.values()))
    if not count:
        return
    nodes = "1 node computes" if count == 1 else f"{count} nodes compute"
    yield Diagnostic(
        "fused-otherwise",
        f"{nodes} something else than the file says, once the runtime has fused it",
        decided.context.cascade.mode.span,
        help=_CURES,
        notes=tuple(f"{_shown(names)}: {_WHY[fault]}" for fault, names in found.items()),
        severity=Severity.WARNING,
    )


def _fault(prepared: Prepared, node: NodeView, *, fused: bool) -> str:
    """What of a Conv or Gemm between Q/DQ nodes the runtime does not read: a key of `_WHY`, or ""."""
    if node.op not in ("Conv", "Gemm") or node.domain:
        return ""
    data, weight = _dequantized(prepared, node, 0), _dequantized(prepared, node, 1)
    if data is None or weight is None:
        return ""
    scale = _value(prepared, weight.inputs[1])
    if scale is None:
        return ""
    if scale.size > 1 and _axis(prepared, weight) != (0 if node.op == "Conv" or node.attrs.get("transB", 0) else 1):
        return "axis" if fused else ""
    first = _value(prepared, data.inputs[1])
    if first is None or first.size != 1:
        return ""
    return _bias_fault(prepared, node, np.float64(first.reshape(())) * scale.astype(np.float64).ravel(), fused)


def _bias_fault(prepared: Prepared, node: NodeView, steps: NDArray[np.float64], fused: bool) -> str:
    """Of a bias beside products in `steps`, one or one per output channel. A float bias, if it is a vector with a step
    for each, is made int32 whether the node then runs in integers or not."""
    bias = _value(prepared, node.inputs[_BIAS]) if len(node.inputs) > _BIAS else None
    if bias is not None:
        made = bias.dtype.kind == "f" and bias.ndim == 1 and steps.size in (1, bias.size)
        return "range" if made and (np.abs(bias) >= _LARGEST * steps).any() else ""
    integers = _dequantized(prepared, node, _BIAS)
    own = _value(prepared, integers.inputs[1]) if integers is not None else None
    if own is None or node.op != "Gemm" or not fused or len({1, own.size, steps.size}) > 2:
        return ""
    return "bias" if (np.abs(own.ravel() - steps) > _TOLERANCE * steps).any() else ""


def _dequantized(prepared: Prepared, node: NodeView, port: int) -> NodeView | None:
    """The DequantizeLinear before an input, if there is one."""
    writer = prepared.view.producer(node.inputs[port]) if port < len(node.inputs) else None
    return writer if writer is not None and writer.op == "DequantizeLinear" else None


def _value(prepared: Prepared, name: str) -> NDArray[Any] | None:
    return prepared.model.values(name) if name and prepared.view.is_constant(name) else None


def _axis(prepared: Prepared, weight: NodeView) -> int:
    """Of the scales of a DequantizeLinear, counted from the front; ONNX's default is 1."""
    axis, shape = weight.attrs.get("axis", 1), prepared.view.tensors[weight.inputs[0]].shape
    assert isinstance(axis, int), "loading checks attributes"
    return axis + len(shape) if axis < 0 and shape is not None else axis


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(plain(name)[:_NAME] for name in names[:_SHOWN]) + more
