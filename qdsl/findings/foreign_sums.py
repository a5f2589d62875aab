"""Weights of a file that is measured as it is, whose products not every CPU that the target names adds exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qdsl.diag import Diagnostic, Severity
from qdsl.graph.view import NodeView
from qdsl.plan import Decisions
from qdsl.plan.guards import needed_guard
from qdsl.quant.guard import exact
from qdsl.spec import DTYPES, Guard
from qdsl.spec.plan import AS_IT_IS
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_SHOWN = 3
_NAME = 60
# Where kernels that read integers hold their weights; in a QDQ model every input of these may be one.
_PORTS = {"QLinearConv": (3,), "QLinearMatMul": (0, 3), "QGemm": (3,), "ConvInteger": (1,), "MatMulInteger": (0, 1)}
_QDQ_PORTS = {"Conv": (1,), "MatMul": (0, 1), "Gemm": (0, 1)}
# What the runtime makes of these keeps the sums of the operator that it replaces.
_SUMS_OF = {"DynamicQuantizeMatMul": "MatMulInteger", "MatMulIntegerToFloat": "MatMulInteger"}
_ON = {"pairs": "x86 without VNNI", "lowest": "Arm without dot product"}
_WHY = {
    "pairs": "two neighbouring products can pass int16, and saturate",
    "lowest": "where -128 meets -128 the sum wraps",
}


@dataclass(frozen=True, slots=True)
class _Inexact:
    """A stored weight, and which kinds of fault its values can show."""

    node: str
    faults: tuple[str, ...]
    option: str


def inexact_weights(prepared: Prepared, decided: Decisions) -> Iterator[Diagnostic]:
    """One warning about all of them, under `quantize none`; none where every sum is exact. Reads the weights."""
    if decided.plan.mode != AS_IT_IS:
        return
    found = list(_inexact(prepared, decided))
    if not found:
        return
    faults = {fault: [one for one in found if fault in one.faults] for fault in _ON}
    where = " and ".join(_ON[fault] for fault, ones in faults.items() if ones)
    notes = [f"{_named(ones)}: {_WHY[fault]}" for fault, ones in faults.items() if ones]
    count = f"{len(found)} weight" + ("s" if len(found) > 1 else "")
    yield Diagnostic(
        "sums-inexact",
        f"the products of {count} can add up wrongly on {where}",
        decided.context.cascade.mode.span,
        help=_cures(found),
        notes=tuple(notes),
        severity=Severity.WARNING,
    )


def _cures(found: list[_Inexact]) -> tuple[str, ...]:
    option = next((one.option for one in found if "pairs" in one.faults and one.option), "")
    cures = [
        "quantize the float model with qdsl: such weights get the least wider scale that keeps their sums exact",
        "`target ort { cpu x86_vnni, arm_dotprod }` says that the model runs on no other CPU",
    ]
    if option:
        cures.append(f"where a program may set session options, `{option}` = 1 keeps ONNX Runtime exact on x86")
    return tuple(cures)


def _inexact(prepared: Prepared, decided: Decisions) -> Iterator[_Inexact]:
    for node in prepared.view.nodes:
        prediction = decided.predictions.get(node.name)
        if prediction is None or prediction.runs != "integer":
            continue
        kernel = _SUMS_OF.get(prediction.kernel, prediction.kernel)
        for port in _PORTS.get(node.op, _QDQ_PORTS.get(node.op, ())):
            stored = _stored(prepared, node, port)
            dtype = DTYPES.get(prepared.view.tensors[stored].dtype or "") if stored else None
            sums = decided.context.capability.sums_of(kernel, dtype) if dtype is not None else None
            if sums is None:
                continue
            one_zero = _one_zero(prepared, node, port)
            needed = needed_guard(sums, decided.context, node, port, one_zero=one_zero)
            faults = _faults(prepared, stored, _mixed(prepared, node, stored), needed)
            if faults:
                yield _Inexact(node.name, faults, sums.option)


def _stored(prepared: Prepared, node: NodeView, port: int) -> str:
    """The constant that holds the integers of an input, before its DequantizeLinear if there is one; "" for none."""
    if port >= len(node.inputs) or not node.inputs[port]:
        return ""
    name = node.inputs[port]
    writer = prepared.view.producer(name)
    if writer is not None and writer.op == "DequantizeLinear":
        name = writer.inputs[0]
    return name if prepared.view.is_constant(name) else ""


def _one_zero(prepared: Prepared, node: NodeView, port: int) -> bool:
    """Whether the channels of the weight at `port` of a Conv have one zero point."""
    writer = prepared.view.producer(node.inputs[port])
    if writer is not None and writer.op == "DequantizeLinear":
        node, port = writer, 0
    name = node.inputs[port + 2] if len(node.inputs) > port + 2 else ""
    if not name:
        return True
    return prepared.view.is_constant(name) and len(np.unique(prepared.model.values(name))) == 1


def _mixed(prepared: Prepared, node: NodeView, stored: str) -> bool:
    """Whether unsigned bytes meet signed ones, which alone are added in pairs. Of a QDQ model the runtime turns int8
    activations into uint8."""
    if node.op in _QDQ_PORTS:
        return True
    types = prepared.view.tensors
    return types[node.inputs[0]].dtype != types[stored].dtype


def _faults(prepared: Prepared, stored: str, mixed: bool, needed: Guard) -> tuple[str, ...]:
    codes = prepared.model.values(stored)
    lowest = 0 if codes.dtype.kind == "u" else -128
    by_pairs = mixed and not exact(codes, needed).all()
    by_lowest = needed.lowest and bool((codes == lowest).any())
    return (*(["pairs"] if by_pairs else []), *(["lowest"] if by_lowest else []))


def _named(ones: list[_Inexact]) -> str:
    names = ", ".join(plain(one.node)[:_NAME] for one in ones[:_SHOWN])
    return names + (f" and {len(ones) - _SHOWN} more" if len(ones) > _SHOWN else "")
