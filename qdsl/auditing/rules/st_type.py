"""Types that ST Edge AI Core does not compute in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.auditing.st_limits import told
from qdsl.auditing.standing import STM32
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "st_type"
    summary: ClassVar[str] = "values that are neither float32 nor int8 or uint8, or a stored bias that is not int32"
    explanation: ClassVar[str] = (
        "ST's tool takes float32, int8 and uint8 for weights and activations, and int32 for a bias (common "
        "constraints of its documentation): files with 4 or 16 bit integers or float16 are refused, and `target "
        "stm32` writes none for it."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (STM32,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        return told(audited, self.id)
