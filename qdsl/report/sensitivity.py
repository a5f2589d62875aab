"""What quantizing each layer costs the outputs: a figure of those that cost most, and all of them in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qdsl.report import charts, tables, words
from qdsl.report.axes import axis
from qdsl.report.charts import Bar, Words
from qdsl.report.data import Method
from qdsl.report.html import NOTHING, Html, tag
from qdsl.spec.sensitivity import FLOAT, Row, Sensitivity
from qdsl.spec.words import plain

_DRAWN = 16
_STYLES = ("integer", "half", "single", "moves")


def drawn(method: Method) -> list[Html]:
    """A chart of the layers that cost most, none where nothing of it was measured."""
    found = method.build.sensitivities.get(method.facts.target)
    ranked = found.ranked(_choices(found)[0])[:_DRAWN] if found is not None and _choices(found) else ()
    return [_chart(found, [row.unit for row in ranked])] if found is not None and ranked else []


def listed(method: Method) -> Html:
    """All that was measured; nothing where it was not."""
    found = method.build.sensitivities.get(method.facts.target)
    if found is None or not _choices(found):
        return NOTHING
    return tag("div", *(tag("p", plain(note), class_="note") for note in found.notes), _table(found))


def _choices(found: Sensitivity) -> list[str]:
    return [choice for choice in found.choices if choice != FLOAT]


def _chart(found: Sensitivity, units: Sequence[str]) -> Html:
    choices = _choices(found)
    by_running = found.method == "sqnr"
    top = max((row.loss for row in found.rows), default=0.0) or 1.0
    bars = []
    for unit in units:
        for choice, style in zip(choices, _STYLES, strict=False):
            row = found.row(unit, choice)
            value = None if row is None else _finite(row.alone_db) if by_running else row.loss / top
            told = "" if row is None else words.decibels(row.alone_db) if by_running else f"{row.loss:.3g}"
            bars.append(Bar(choice if len(choices) > 1 else unit, value, told, style, group=unit))
    bars = [Bar(each.name, each.value, each.words, each.style) for each in bars] if len(choices) == 1 else bars
    values = [bar.value for bar in bars if bar.value is not None]
    named = "signal to noise in dB" if by_running else "loss, of the largest"
    better = "Lower is worse." if by_running else "Higher is worse."
    caption = f"One layer quantized, all others float. {better} {_source(found)}."
    first = ", ".join(f"{bar.name} {bar.words}" for bar in bars[:3])
    around = Words("Which layers are sensitive", f"The layers that cost the outputs most: {first}.", caption)
    return charts.bars(around, axis(named, [*values, 0.0], zero=True), bars)


def _source(found: Sensitivity) -> str:
    share = max((row.samples for row in found.rows), default=0)
    each = f", each layer on {share} of them" if 0 < share < found.samples else ""
    return f"Measured ({found.method}), {words.count(found.samples, 'sample')} of {found.data}{each}"


def _table(found: Sensitivity) -> Html:
    sqnr = found.method == "sqnr"
    columns = ("layer", "as", "rank", "loss", "standard error", *(("alone", "gain in float") if sqnr else ("score",)))
    judged = f", held against {found.judged_by}" if found.judged_by else ""
    ranks = found.ranks()
    rows = [_row(row, ranks[row.unit, row.choice], sqnr) for row in found.rows if row.choice != FLOAT]
    return tables.table(f"Sensitivity of layers. {_source(found)}{judged}", columns, rows)


def _row(row: Row, rank: int, sqnr: bool) -> list[Html]:
    error = tables.nothing() if row.error is None else tables.figure(row.error, f"{row.error:.2g}")
    score = tables.nothing() if row.score is None else tables.figure(_finite(row.score), f"{row.score:.3g}")
    return [
        tables.name(row.unit),
        tables.words(row.choice),
        tables.figure(rank, str(rank)),
        tables.figure(row.loss, f"{row.loss:.3g}"),
        error,
        *((_decibels(row.alone_db), _gain(row)) if sqnr else (score,)),
    ]


def _decibels(value: float | None) -> Html:
    return tables.nothing() if value is None else tables.figure(_finite(value), words.decibels(value))


def _gain(row: Row) -> Html:
    value = _finite(row.gain_db)
    error = "" if row.gain_error_db is None else f" ± {row.gain_error_db:.1f}"
    return tables.nothing() if value is None else tables.figure(value, f"{value:+.1f}{error} dB")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
