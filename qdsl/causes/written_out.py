"""Operators that compute on integers, written as the float operator between DequantizeLinear and QuantizeLinear that
they stand for: so that what each tensor loses by being rounded can be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from qdsl.graph import Model
from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_constant, add_node, become, exchange_outputs, replace_input

_SUFFIX = "_quantized"
_DOMAINS = ("", "com.microsoft")
_AXES = 13  # the first opset whose DequantizeLinear has a scale per channel


@dataclass(frozen=True, slots=True)
class _Form:
    """`op` is what it computes; (integers, scale, zero point) are the ports of what it reads, `output` those of the
    scale and zero point of what it writes, `bias` that of int32 in steps of the first two scales; `axis` is that of the
    channels of the second operand."""

    op: str
    reads: tuple[tuple[int, int, int], ...]
    output: tuple[int, int]
    bias: int = -1
    axis: int = 0


_FIRST, _SECOND = (0, 1, 2), (3, 4, 5)
_FORMS = {
    "QLinearConv": _Form("Conv", (_FIRST, _SECOND), (6, 7), bias=8),
    "QLinearMatMul": _Form("MatMul", (_FIRST, _SECOND), (6, 7), axis=1),
    "QGemm": _Form("Gemm", (_FIRST, _SECOND), (7, 8), bias=6),
    "QLinearAdd": _Form("Add", (_FIRST, _SECOND), (6, 7)),
    "QLinearMul": _Form("Mul", (_FIRST, _SECOND), (6, 7)),
    "QLinearSigmoid": _Form("Sigmoid", (_FIRST,), (3, 4)),
    "QLinearLeakyRelu": _Form("LeakyRelu", (_FIRST,), (3, 4)),
    "QLinearAveragePool": _Form("AveragePool", (_FIRST,), (3, 4)),
    "QLinearGlobalAveragePool": _Form("GlobalAveragePool", (_FIRST,), (3, 4)),
}
# What can be, by name; not every one of them: see `write_out`.
WRITTEN_OUT = frozenset({*_FORMS, "QLinearConcat"})


def written_out(model: Model) -> int:
    """Write out what can be, in `model`; returns how many operators. Those on channels in the last place, with scales
    that are computed, or with an axis that the opset has no word for, stay."""
    return sum(write_out(model, node) for node in model.nodes())


def write_out(model: Model, node: gs.Node) -> bool:
    """Write out one operator, if it can be; whether it was."""
    form = _form(node)
    if form is None or node.domain not in _DOMAINS or node.attrs.get("channels_last", 0) or len(node.outputs) != 1:
        return False
    if any(not _fixed(node, scale) for _, scale, _ in form.reads) or not _fixed(node, form.output[0]):
        return False
    axes = [_axis(node, form, place) for place in range(len(form.reads))]
    if model.opset < _AXES and any(axis is not None for axis in axes):
        return False
    floats = [_dequantized(model, node, ports, axis) for ports, axis in zip(form.reads, axes, strict=True)]
    if _port(node, form.bias) is not None:
        floats.append(_bias(model, node, form))
    steps, zero = (_port(node, port) for port in form.output)
    attrs = {name: value for name, value in node.attrs.items() if name != "channels_last"}
    _become(model, node, form.op, floats, attrs, [steps, zero])
    return True


def _form(node: gs.Node) -> _Form | None:
    if node.op != "QLinearConcat":
        return _FORMS.get(node.op)
    reads = tuple((port, port + 1, port + 2) for port in range(2, len(node.inputs) - 2, 3))
    return _Form("Concat", reads, (0, 1))


def _become(
    model: Model,
    node: gs.Node,
    op: str,
    inputs: list[gs.Tensor],
    attrs: Mapping[str, Any],
    parameters: list[gs.Tensor | None],
) -> None:
    """Turn the node into `op` on floats, and let a QuantizeLinear write what it wrote."""
    written = node.outputs[0]
    become(model, node, op, inputs, attrs)
    name = written.name.removesuffix(_SUFFIX) if written.name.endswith(_SUFFIX) else f"{written.name}.float"
    given = [inputs[0], *parameters]
    rounding = add_node(
        model,
        "QuantizeLinear",
        given,
        name=f"{node.name}.rounded",
        output_name=name,
        like=written,
        element_type="float32",
    )
    exchange_outputs(model, node, rounding)
    replace_input(model, rounding, 0, node.outputs[0])


def _dequantized(model: Model, node: gs.Node, ports: tuple[int, int, int], axis: int | None) -> gs.Tensor:
    data, scale, zero = (_port(node, port) for port in ports)
    attrs = {} if axis is None else {"axis": axis}
    called = f"{node.name}.read_{ports[0]}"
    made = add_node(
        model, "DequantizeLinear", [data, scale, zero], name=called, attrs=attrs, like=data, element_type="float32"
    )
    return made.outputs[0]


def _bias(model: Model, node: gs.Node, form: _Form) -> gs.Tensor:
    """The int32 bias, in steps of the scale of the data times that of each channel."""
    one, other = (_value(node, scale) for _, scale, _ in form.reads)
    steps = np.asarray(one.reshape(-1)[0] * other.reshape(-1), np.float32)
    scale = add_constant(model, f"{node.name}.bias_scale", steps if steps.size > 1 else steps.reshape(()))
    called, data = f"{node.name}.read_bias", _port(node, form.bias)
    attrs = {"axis": 0} if steps.size > 1 else {}
    made = add_node(
        model, "DequantizeLinear", [data, scale], name=called, attrs=attrs, like=data, element_type="float32"
    )
    return made.outputs[0]


def _axis(node: gs.Node, form: _Form, place: int) -> int | None:
    """The axis of the channels of an operand with several scales; None with one."""
    if _value(node, form.reads[place][1]).size == 1:
        return None
    return (0 if node.attrs.get("transB", 0) else 1) if form.op == "Gemm" else form.axis


def _fixed(node: gs.Node, port: int) -> bool:
    return isinstance(_port(node, port), gs.Constant)


def _value(node: gs.Node, port: int) -> NDArray[Any]:
    return lazy_of(node.inputs[port]).load()


def _port(node: gs.Node, port: int) -> gs.Tensor | None:
    """What is read at a port; None where nothing is."""
    if not 0 <= port < len(node.inputs) or not node.inputs[port].name:
        return None
    return node.inputs[port]
