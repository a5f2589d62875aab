"""GitLab's Code Quality report: what its merge requests show of findings that came or went."""

from __future__ import annotations

import json
from typing import Any

from qdsl.auditing.formats.told import Told, relative, told, whole
from qdsl.auditing.report import AuditReport
from qdsl.diag import Severity

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.NOTE: "info"}


def render(report: AuditReport) -> str:
    """A JSON list of the findings that no waiver allows, in ASCII: the format has no word for what is waived."""
    found = [_entry(report, each) for each in told(report) if not each.found.waived]
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def _entry(report: AuditReport, each: Told) -> dict[str, Any]:
    line = each.found.line
    # A model has no lines, and a location must have one.
    path, begin, end = (report.file, 1, 1) if line is None else (line.file, line.line, line.end_line)
    return {
        "check_name": each.found.rule,
        "description": whole(each.found),
        "fingerprint": each.fingerprint,
        "severity": _SEVERITIES[each.found.severity],
        "location": {"path": relative(path), "lines": {"begin": begin, "end": end}},
    }
