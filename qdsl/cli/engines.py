"""What an engine that was built of an artifact computes beside its plan, as lines and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qdsl.cli.measured import line

if TYPE_CHECKING:
    from qdsl.harness.engine_checks import EngineCheck

_MOST = 8
_MULTIPLIED = {"fp8": "in float8", "weights": "integer weights, float products"}  # by what a node was planned in


def print_engine(found: EngineCheck) -> None:
    """Its source, how many of the planned nodes of each operator survived, and each that did not."""
    from qdsl.spec.engine import BUILT

    line("engine", f"{found.target}: {found.source}")
    if found.stage != BUILT:
        line("", f"NOT BUILT: {len(found.refused)} refused" if found.refused else f"UNDECIDED: {found.reason}")
        for each in found.refused[:_MOST]:
            line("", f"! {each.node or 'the file'}: {each.text[:200]}")
        return
    told = "; ".join(_survived(found)) or "in integers: nothing"
    line("", f"{'as predicted' if found.as_predicted else 'NOT AS PREDICTED'}, {told}")
    other = [each for each in found.nodes if not each.as_planned]
    for node in other[:_MOST]:
        waived = f"; waived: {node.waived}" if node.waived else ""
        sign = "!" if node.contradicts else "-"
        line("", f"{sign} {node.node} ({node.op}): planned {node.expect}, {node.verdict}: {node.because}{waived}")
    if len(other) > _MOST:
        line("", f"and {len(other) - _MOST} more")
    for note in found.notes:
        line("", f"note: {note}")


def _survived(found: EngineCheck) -> Iterator[str]:
    """How many of the planned nodes of each operator survived, by what they were planned in."""
    for expect in dict.fromkeys(each.expect for each in found.planned):
        asked = [each for each in found.planned if each.expect == expect]
        kept = Counter(each.op for each in asked if each.as_planned)
        counts = ", ".join(f"{kept[op]} of {count} {op}" for op, count in Counter(each.op for each in asked).items())
        yield f"{_MULTIPLIED.get(expect, 'in integers')}: {counts}"


def engine_json(found: EngineCheck) -> dict[str, Any]:
    """The same as JSON, all of it."""
    from dataclasses import asdict

    judged = {"as_predicted": found.as_predicted, "passes": found.passes}
    return {**asdict(found), **judged}
