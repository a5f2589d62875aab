"""What `round` gained, weight by weight."""

from __future__ import annotations

import math

from qdsl.report import tables, words
from qdsl.report.data import Method
from qdsl.report.html import NOTHING, Html
from qdsl.spec.rounding import RoundedRow

_COLUMNS = ("layer", "weight", "as", "nearest", "chosen", "gain")
_CAPTION = "Integers chosen by round: what a layer writes, above what rounding its weight adds to it"


def listed(method: Method) -> Html:
    """All weights; nothing where none was rounded so."""
    found = method.build.roundings.get(method.facts.target)
    if found is None or not found.rows:
        return NOTHING
    return tables.table(_CAPTION, _COLUMNS, [_row(row) for row in found.rows])


def _row(row: RoundedRow) -> list[Html]:
    gain = row.after - row.before
    return [
        tables.name(", ".join(row.nodes)),
        tables.name(row.tensor),
        tables.words(row.scheme),
        tables.figure(_finite(row.before), words.decibels(row.before)),
        tables.figure(_finite(row.after), words.decibels(row.after)),
        tables.figure(_finite(gain), f"{gain:+.1f} dB"),
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
