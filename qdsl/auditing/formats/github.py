"""Workflow commands of GitHub Actions: printed by a step, they become annotations on the pull request."""

from __future__ import annotations

from qdsl.auditing.formats.told import cures, message, relative, told
from qdsl.auditing.report import AuditReport
from qdsl.diag import Severity, Span
from qdsl.spec.words import plain

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: AuditReport) -> str:
    """A command for each finding that no waiver allows; file and line where a line of the recipe is known. What is
    waived is not told: an annotation cannot say that it is allowed."""
    lines = []
    for each in told(report):
        found = each.found
        if found.waived:
            continue
        title = f"{found.rule} on {', '.join(each.targets)}"
        properties = {**_place(found.line), "title": title}
        given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
        words = "\n".join((f"{relative(report.file)}: {message(found)}", plain(found.why), *cures(found))).strip()
        lines.append(f"::{_COMMANDS[found.severity]} {given}::{_data(words)}\n")
    return "".join(lines)


def _place(line: Span | None) -> dict[str, str]:
    if line is None:
        return {}
    place = {"file": relative(line.file), "line": str(line.line), "endLine": str(line.end_line)}
    # Columns are taken for a single line only; the end is the last character, not the one behind it.
    if line.end_line == line.line:
        place |= {"col": str(line.column), "endColumn": str(max(line.column, line.end_column - 1))}
    return place


def _data(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")
