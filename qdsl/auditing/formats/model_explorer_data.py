"""Node data for Model Explorer: what each node runs as on the first target, to be laid over a graph that is open there.

Values are by node name, which is the id that the graph of `model_explorer` has for it.
"""

from __future__ import annotations

import json
from typing import Any

from qdsl.auditing.formats.model_explorer import COLOURS
from qdsl.auditing.formats.wiring import Wiring
from qdsl.auditing.report import AuditReport


def render(report: AuditReport) -> str:
    """The data of one graph, as JSON in ASCII: a word per node, "!" before it where a finding speaks of the node."""
    return json.dumps(_data(report), indent=1, allow_nan=False) + "\n"


def _data(report: AuditReport) -> dict[str, Any]:
    if not report.sections:
        return {"name": "runs", "results": {}}
    section, wiring = report.sections[0], Wiring(report)
    results = {}
    for number, node in enumerate(report.nodes):
        runs = section.runs[node.name].runs
        back, text = COLOURS.get(runs, ("#ffffff", "#000000"))
        standing = any(not found.waived for found in wiring.findings.get(number, ()))
        results[node.name] = {"value": f"{'! ' if standing else ''}{runs}", "bgColor": back, "textColor": text}
    return {
        "name": f"runs on {section.target}",
        "results": results,
        "showExpandedSummaryOnGroupNode": True,
        "showLabelCountColumnsInChildrenStatsTable": True,
    }
