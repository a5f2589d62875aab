"""An engine was asked for, and nothing is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.diag import Severity
from qdsl.spec.engine import UNDECIDED


class Check:
    id: ClassVar[str] = "engine_undecided"
    summary: ClassVar[str] = "what an engine makes of the file was asked, and is not known"
    explanation: ClassVar[str] = (
        "Nothing is known, which is no pass: the process that built the engine died, took too long, or answered what "
        "cannot be read. A very small class of files that are in order ends TensorRT-RTX 1.7.1 by a signal. `--engine` "
        "asks for it; without that nothing is told."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        seen = audited.engine
        if seen is None or seen.stage != UNDECIDED:
            return
        message = f"what an engine makes of the file is undecided: {seen.reason}"
        why = f"nothing is known of {seen.source}: that is no pass"
        yield Finding(self.id, Severity.ERROR, Place("file"), message, why)
