"""Engines that were built without a GPU where the artifact was made: what became of each planned node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qdsl.harness.engine_checks import EngineCheck
from qdsl.report import tables
from qdsl.report.data import Method
from qdsl.report.html import NOTHING, Html, tag
from qdsl.spec.engine import BUILT, UNDECIDED, VERDICTS

_MOST_TOLD = 8


def part(methods: Sequence[Method]) -> Html:
    """A part for each artifact of which an engine was built; nothing where none was asked for."""
    found = [(method, method.facts.engine) for method in methods]
    shown = [_engine(check, method.label if len(methods) > 1 else "") for method, check in found if check is not None]
    return tag("div", *shown) if shown else NOTHING


def _engine(found: EngineCheck, label: str) -> Html:
    title = f"{label}: {found.source}" if label else found.source
    notes = [tag("p", f"Note: {note}.", class_="note") for note in found.notes]
    return tag("div", tag("h3", title), *_ended(found), *notes, _nodes(found))


def _ended(found: EngineCheck) -> list[Html]:
    if found.stage == UNDECIDED:
        return [tag("p", f"Undecided, which is no pass: {found.reason}.", class_="warning")]
    if found.stage != BUILT:
        told = [tag("p", "No engine is built of the file.", class_="warning")]
        told += [tag("p", f"{each.node or 'The file'}: {each.text}") for each in found.refused[:_MOST_TOLD]]
        more = len(found.refused) - _MOST_TOLD
        return told + ([tag("p", f"And {more} more.")] if more > 0 else [])
    counts = Counter(each.verdict for each in found.planned)
    told_counts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "none"
    word = "As predicted." if found.as_predicted else "NOT as predicted."
    return [tag("p", f"{word} Nodes planned in integers: {told_counts}.", class_="lead")]


def _nodes(found: EngineCheck) -> Html:
    rows = [
        [
            tables.name(each.node),
            tables.words(each.op),
            tables.words(each.expect),
            tables.words(tables.chip("holds" if each.passes else "broken" if each.lost else "", each.verdict)),
            tables.words(f"{each.because}; waived: {each.waived}" if each.waived else each.because),
        ]
        for each in found.nodes
    ]
    columns = ("node", "operator", "planned in", "in the engine", "why")
    return tables.table("What the engine computes in", columns, rows) if rows else NOTHING
