"""An opset that ST Edge AI Core does not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.auditing.st_limits import told
from qdsl.auditing.standing import STM32
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "st_opset"
    summary: ClassVar[str] = "an opset that ST Edge AI Core does not read"
    explanation: ClassVar[str] = (
        "ST's tool imports opsets 7 to 20 (ONNX toolbox support of 2.2 and 3.0), and `target stm32` writes no file "
        "for it. The C of `target stm32` does not depend on that tool. qdsl writes opset 17 for it where the "
        "operators mean the same there."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (STM32,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        return told(audited, self.id)
