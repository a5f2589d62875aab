"""Integers in the file where the recipe decides for floats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.differences import told
from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.diag import Severity


class Check:
    """See `explanation`."""

    id: ClassVar[str] = "not_asked"
    summary: ClassVar[str] = "integers in the file where the recipe decides for floats"
    explanation: ClassVar[str] = (
        "With `--recipe R`, the reverse of `asked_and_absent`: a node of the file reads integers, and the plan that R "
        "comes to for the target leaves what it reads in floats. The line that is told is the one that decided so for "
        "the node. Either the file was made from another recipe, or somebody quantized more than was agreed."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for difference in audited.held.extra if audited.held is not None else ():
            yield told(self.id, self.severity, difference)
