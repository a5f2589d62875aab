"""Sizes that ST Edge AI Core does not take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.auditing.st_limits import told
from qdsl.auditing.standing import STM32
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "st_shape"
    summary: ClassVar[str] = "a size that is not known, more than 6 dimensions, a side above 65535, or a batch"
    explanation: ClassVar[str] = (
        "ST's tool takes tensors of static size alone, up to 6 dimensions of at most 65535, and reads a batch as "
        "1; `target stm32` writes no file for it of others. Fix sizes in the recipe: `input { shape [1, ..] }`."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (STM32,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        return told(audited, self.id)
