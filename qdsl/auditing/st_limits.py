"""What ST Edge AI Core does not import of a file, as findings: the C of `target stm32` does not depend on it."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import once_per_audit
from qdsl.diag import Severity
from qdsl.stedgeai.limits import Limit, limits


def told(audited: Audited, rule: str) -> Iterator[Finding]:
    """The findings of one of its rules: what the tool does not take is a warning, the rest a note."""
    for each in _found(audited):
        if each.rule == rule:
            first, *others = [Place(each.kind, name) for name in each.names] or [Place(each.kind)]
            severity = Severity.WARNING if each.grave else Severity.NOTE
            yield Finding(rule, severity, first, each.message, each.why, also=tuple(others))


@once_per_audit
def _found(audited: Audited) -> tuple[Limit, ...]:
    return tuple(limits(audited.finished.view))
