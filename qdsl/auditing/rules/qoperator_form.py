"""Operators on integers, which TensorRT does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.causes.written_out import WRITTEN_OUT
from qdsl.diag import Severity
from qdsl.graph.integer_operators import says_quantized
from qdsl.spec.words import plain

_IMPORTED = frozenset({"QuantizeLinear", "MatMulNBits"})


class Check:
    id: ClassVar[str] = "qoperator_form"
    summary: ClassVar[str] = "an operator on integers (QLinearConv, MatMulInteger, ..), which TensorRT does not import"
    explanation: ClassVar[str] = (
        "TensorRT refuses the file: it imports QuantizeLinear and DequantizeLinear, and no operator that reads "
        "integers and scales itself. QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger and DynamicQuantizeLinear "
        "are unsupported nodes, those of com.microsoft plugins that are not there. An operator with static scales can "
        "be written as the float operator between Q and DQ that it stands for; one that finds its scales while the "
        "model runs cannot. Quantize into Q/DQ nodes, with static ranges."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node in audited.finished.view.nodes:
            if says_quantized(node.op) and node.op not in _IMPORTED:
                yield Finding(
                    self.id,
                    Severity.ERROR,
                    Place("node", node.name),
                    f"{shown(node.name)} is a {plain(node.op)[:40]}",
                    "TensorRT refuses the file: it imports no such operator",
                    fix=Fix(rewrite="written_out") if node.op in WRITTEN_OUT else None,
                )
