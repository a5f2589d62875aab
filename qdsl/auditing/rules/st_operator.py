"""Operators that ST Edge AI Core does not import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.auditing.st_limits import told
from qdsl.auditing.standing import STM32
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "st_operator"
    summary: ClassVar[str] = "an operator that ST Edge AI Core does not import, or takes in another form rather"
    explanation: ClassVar[str] = (
        "ST's tool refuses the file, and `target stm32` writes none for it: its documentation (2.2, 132 operators) "
        "lists QuantizeLinear, DequantizeLinear and some QLinear operators, but no DynamicQuantizeLinear, "
        "ConvInteger, MatMulInteger or QGemm. A dynamically quantized model runs as the C of `target stm32` alone. "
        "Of operators on integers it imports, ST recommends the Q/DQ form instead."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (STM32,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        return told(audited, self.id)
