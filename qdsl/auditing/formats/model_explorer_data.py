"""Node data for Model Explorer: what each node runs as on the first target, to be laid over a graph that is open there.

Values are by node name, which is the id that the graph of `model_explorer` has for it.
"""

from __future__ import annotations

import json
from typing import Any

from qdsl.auditing.formats.model_explorer import COLOURS
from qdsl.auditing.report import AuditReport


def render(report: AuditReport) -> str:
    """The data of one graph, as JSON in ASCII: a word per node."""
    return json.dumps(_data(report), indent=1, allow_nan=False) + "\n"


def _data(report: AuditReport) -> dict[str, Any]:
    if not report.sections:
        return {"name": "runs", "results": {}}
    section = report.sections[0]
    results = {}
    for node in report.nodes:
        runs = section.runs[node.name].runs
        back, text = COLOURS.get(runs, ("#ffffff", "#000000"))
        results[node.name] = {"value": runs, "bgColor": back, "textColor": text}
    return {
        "name": f"runs on {section.target}",
        "results": results,
        "hideInAggregatedStatsTable": True,
        "showExpandedSummaryOnGroupNode": True,
        "showLabelCountColumnsInChildrenStatsTable": True,
    }
