"""Which tensors the error comes from: what rounding each adds, beside what it inherits, and what would help."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qdsl.causes.records import Cause, Causes
from qdsl.report import charts, tables, words
from qdsl.report.axes import axis
from qdsl.report.charts import Bar, Words
from qdsl.report.data import Method
from qdsl.report.html import NOTHING, Html, tag
from qdsl.spec.words import plain

_DRAWN = 12


def drawn(method: Method) -> list[Html]:
    """A chart of what would help most; none where nobody asked, and where nothing was measured."""
    found = method.facts.causes
    measured = _measured(found) if found is not None else []
    return [_chart(found, measured[:_DRAWN])] if found is not None and measured else []


def listed(method: Method) -> Html:
    """A table of all that was measured at the outputs; nothing where nobody asked."""
    found = method.facts.causes
    if found is None:
        return NOTHING
    return tag("div", *(tag("p", plain(note), class_="note") for note in found.notes), _table(found, _measured(found)))


def _measured(found: Causes) -> list[Cause]:
    return [each for each in found.causes if each.measured]


def _chart(found: Causes, rows: Sequence[Cause]) -> Html:
    """Own and inherited error of what would help most."""
    bars = [bar for each in rows for bar in _bars(each)]
    values = [bar.value for bar in bars if bar.value is not None]
    x = axis("signal to noise in dB", [*values, 0.0], zero=True)
    first = "; ".join(f"{each.tensor} own {words.decibels(each.own_db)}" for each in rows[:3])
    caption = (
        f"What would help most comes first. Lower is worse: a low own error is the tensor's doing, a low inherited one "
        f"comes from further up. Measured, {words.count(min(2, found.samples), 'sample')} of {found.source}."
    )
    told = Words("Where the error comes from: own beside inherited", f"Own and inherited error: {first}.", caption)
    return charts.bars(told, x, bars)


def _bars(cause: Cause) -> list[Bar]:
    kinds = [("own", cause.own_db, "integer")]
    kinds += [("inherited", cause.inherited_db, "single")] if cause.role == "activation" else []
    group = _name(cause)
    return [Bar(name, _finite(value), words.decibels(value), style, group=group) for name, value, style in kinds]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _name(cause: Cause) -> str:
    more = f" and {len(cause.also)} more" if cause.also else ""
    return (cause.tensor if cause.role == "activation" or not cause.node else f"{cause.node}, {cause.role}") + more


def _table(found: Causes, measured: Sequence[Cause]) -> Html:
    columns = ("tensor", "share", "gain", "alone", "own", "inherited", "cure, tried")
    where = f"{words.count(found.samples, 'sample')} of {found.source}"
    caption = f"Outputs {words.decibels(found.outputs_db)} from float on {where}: what of it is due to which tensor"
    return tables.table(caption, columns, [_row(each) for each in measured])


def _row(cause: Cause) -> list[Html]:
    gain = _finite(cause.gain_db)
    share = _finite(cause.share)
    cure = cause.cure
    told = "" if cure is None else f"{' and '.join(cure.lines)} ({cure.tried}: {cure.gain_db:+.1f} dB)"
    return [
        tables.name(_name(cause)),
        tables.nothing() if share is None else tables.figure(share, f"{100 * share:.0f} %"),
        tables.nothing() if gain is None else tables.figure(gain, f"{gain:+.1f} dB"),
        *(_decibels(value) for value in (cause.alone_db, cause.own_db)),
        tables.nothing() if cause.role != "activation" else _decibels(cause.inherited_db),
        tables.words(told, class_="long"),
    ]


def _decibels(value: float | None) -> Html:
    return tables.nothing() if value is None else tables.figure(_finite(value), words.decibels(value))
