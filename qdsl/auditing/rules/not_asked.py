"""Integers or float16 in the file where the recipe decides otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.differing import told
from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.diag import Severity


class Check:
    """See `explanation`."""

    id: ClassVar[str] = "not_asked"
    summary: ClassVar[str] = "integers or float16 in the file where the recipe decides otherwise"
    explanation: ClassVar[str] = (
        "With `--recipe R`, the reverse of `asked_and_absent`: a node of the file reads integers, or writes float16, "
        "and the plan that R comes to for the target has floats there. The line that is told is the one that decided "
        "so for the node. Either the file was made from another recipe, or somebody quantized more than was agreed."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for difference in audited.held.extra if audited.held is not None else ():
            yield told(self.id, self.severity, difference)
