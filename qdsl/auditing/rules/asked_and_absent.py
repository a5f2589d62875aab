"""A decision of the recipe that the file lacks, or has otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.differing import told
from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.diag import Severity


class Check:
    """See `explanation`."""

    id: ClassVar[str] = "asked_and_absent"
    summary: ClassVar[str] = "a decision of the recipe that the file lacks, or has otherwise"
    explanation: ClassVar[str] = (
        "With `--recipe R`, the plan that R comes to for the target is held against the file, port by port: the type, "
        "the granularity, the axis and the symmetry of each quantized tensor, weight and bias, and which tensors share "
        "a scale. What the plan has and the file lacks, or has otherwise, is told at the recipe's line. The file may "
        "be anybody's; decisions about nodes that it has not under the plan's names, with the same operator, are "
        "counted and not compared. Compile the recipe again, or change the line to what the file has."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for difference in audited.held.absent if audited.held is not None else ():
            yield told(self.id, self.severity, difference)
