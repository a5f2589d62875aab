"""What cannot hold of a quantization as it is written, told as findings: one rule for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.diag import Severity


class Faulty:
    """A rule that tells the faults of its id which reading the file has found; `comes_of_it` is why they matter."""

    id: ClassVar[str]
    comes_of_it: ClassVar[str]
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for fault in audited.finished.faults:
            if fault.rule == self.id:
                yield Finding(
                    self.id,
                    self.severity,
                    Place("node", fault.node),
                    f"{shown(fault.node)} has {fault.message}",
                    self.comes_of_it,
                )
