"""Attributes and axes that ST Edge AI Core does not take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.auditing.st_limits import told
from qdsl.auditing.standing import STM32
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "st_attribute"
    summary: ClassVar[str] = "an attribute, an axis or an input of an operator that ST Edge AI Core does not take"
    explanation: ClassVar[str] = (
        "ST's tool refuses the node, or reads it otherwise than meant: block_size, saturate and output_dtype of Q "
        "and DQ have to have their default values, a Softmax runs along axis 1 alone and reads no -1, nothing is "
        "moved along the batch (specific constraints of its documentation). `target stm32` writes no file for it "
        "then; an axis of -1 that is 1 it writes as 1."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (STM32,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        return told(audited, self.id)
