"""Layers: how precisely each computes, and how far its output is from the float model's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qdsl.report import causes, charts, frontier, rounding, sensitivity, tables, trials, words
from qdsl.report.axes import Axis, axis
from qdsl.report.charts import Bar, Words
from qdsl.report.data import Layer, Method, layers
from qdsl.report.html import Html, join, tag

_WORST = 16
_KINDS = {
    "integer": ("integer", "integers"),
    "absorbed": ("integer", "fused into integers"),
    "moves": ("moves", "moves values as they come"),
    "widened": ("single", "float32, integer weights"),
    "float16": ("half", "float16"),
    "float": ("single", "float32"),
    "": ("moves", "not in the plan"),
}


def part(method: Method) -> Html:
    """Where precision went and what it cost: charts, and every layer in a table that filters."""
    found = layers(method)
    measured = [layer for layer in found if _decibels(layer) is not None]
    drawn = [_shares(method, found)] if any(layer.macs for layer in found) else []
    if measured:
        drawn += [_along(method, measured), _worst(method, measured)]
    drawn += causes.drawn(method) + sensitivity.drawn(method) + frontier.drawn(method) + trials.drawn(method)
    told = "Not measured: no layer was compared with the float model's."
    notes = [] if measured else [tag("p", told, class_="missing")]
    notes += [tag("p", each, class_="note") for each in _left_out(method)]
    more = (causes.listed(method), sensitivity.listed(method), rounding.listed(method), trials.listed(method))
    return tag("div", tag("div", *drawn, class_="figures"), *notes, *more, _table(method, found))


def _left_out(method: Method) -> list[str]:
    """The outputs that are held against nothing, each with why."""
    return [f"Output {name} is left out of the comparison: {why}." for name, why in method.facts.unordered.items()]


def _decibels(layer: Layer) -> float | None:
    """What can be drawn: neither absent nor NaN."""
    value = layer.sqnr_db
    return None if value is None or math.isnan(value) else value


def _style(layer: Layer) -> str:
    return _KINDS.get(layer.runs, _KINDS[""])[0]


def _key(found: Sequence[Layer]) -> Html:
    kinds = dict(_KINDS.get(layer.runs, _KINDS[""]) for layer in found if layer.runs != "absorbed")
    return charts.legend(list(kinds.items()))


def _shares(method: Method, found: Sequence[Layer]) -> Html:
    """How much of the arithmetic runs in which precision."""
    macs: dict[tuple[str, str], int] = {}
    for layer in found:
        if layer.macs:
            kind = _KINDS.get(layer.runs, _KINDS[""])
            macs[kind] = macs.get(kind, 0) + layer.macs
    total = sum(macs.values())
    parts = [(style, name, float(amount), words.share(amount / total)) for (style, name), amount in macs.items()]
    told = ", ".join(f"{name} {share}" for _, name, _, share in parts)
    caption = f"Predicted by the plan; the runtime {_checked(method)}."
    unknown = sum(layer.macs is None for layer in found)
    caption += f" Not known, and not in it: {words.count(unknown, 'node')}." if unknown else ""
    title = "Multiplications by precision"
    return charts.stack(Words(title, f"Share of the multiply-accumulates: {told}.", caption), parts)


def _checked(method: Method) -> str:
    wrong = method.facts.mismatches
    if wrong is None:
        return "was not looked at"
    return "does as predicted" if not wrong else f"does otherwise at {words.count(wrong, 'node')}"


def _scale(measured: Sequence[Layer]) -> tuple[Axis, float]:
    """An axis over the finite values, and where those that are equal are drawn. What is a little below zero, where
    noise is as strong as the signal, stands at zero."""
    known = [value for layer in measured if (value := _decibels(layer)) is not None and math.isfinite(value)]
    values = [value if value < -1 else max(0.0, value) for value in known]
    found = axis("signal to noise in dB", values, zero=True)
    return found, found.high


def _bar(layer: Layer, top: float) -> Bar:
    value = layer.sqnr_db or 0.0
    return Bar(f"{layer.node or 'input'}", min(top, value), words.decibels(layer.sqnr_db), _style(layer))


def _source(method: Method) -> str:
    count = max((found.samples for found in method.facts.layers), default=0)
    return f"Outputs held against the float model's: measured, {words.count(count, 'sample')} of {method.facts.source}."


def _along(method: Method, measured: Sequence[Layer]) -> Html:
    """Error along the depth of the graph."""
    y, top = _scale(measured)
    worst = min(measured, key=lambda layer: _decibels(layer) or 0.0)
    lowest = words.decibels(worst.sqnr_db)
    label = (
        f"Signal to noise of {words.count(len(measured), 'layer')} in the order of the graph; the lowest is {lowest}."
    )
    told = Words("Error along the graph", label, f"Lower is worse. {_source(method)}")
    return charts.depth(told, y, [_bar(layer, top) for layer in measured], _key(measured))


def _worst(method: Method, measured: Sequence[Layer]) -> Html:
    """The layers that lose most, by name."""
    x, top = _scale(measured)
    rows = sorted(measured, key=lambda layer: _decibels(layer) or 0.0)[:_WORST]
    lowest = ", ".join(f"{layer.node} {words.decibels(layer.sqnr_db)}" for layer in rows[:3])
    label = f"The layers of lowest signal to noise, among them {lowest}."
    told = Words("Where it loses most", label, f"Lower is worse. {_source(method)}")
    return charts.bars(told, x, [_bar(layer, top) for layer in rows], key=_key(rows))


def _table(method: Method, found: Sequence[Layer]) -> Html:
    """Every layer; what was not compared says so."""
    mark = f"layers-{method.facts.target}"
    finite = [value for layer in found if (value := _decibels(layer)) is not None and math.isfinite(value)]
    top = max(finite, default=1.0) or 1.0
    columns = ("layer", "SQNR", "operator", "runs in", "cosine", "largest error", "MACs", "what", "rule")
    rows = [_layer(layer, top) for layer in found]
    label = f"Filter {words.count(len(found), 'layer')} by name, operator, precision or rule"
    field = tag("input", type="search", placeholder="filter", aria_label=label, data_filter=mark, autocomplete="off")
    counted = tag("output", words.count(len(found), "layer"), data_count=mark, aria_live="polite")
    return tag("div", tag("p", field, counted, class_="filter"), tables.table("Layers", columns, rows, mark))


def _layer(layer: Layer, top: float) -> list[Html]:
    style, kind = _KINDS.get(layer.runs, _KINDS[""])
    sqnr = _decibels(layer)
    error, cosine, macs = layer.error, layer.cosine, layer.macs
    return [
        tables.name(layer.node or "input"),
        tables.barred(sqnr, words.decibels(sqnr), (sqnr or 0.0) / top, style),
        tables.words(layer.op),
        tables.words(tag("span", kind, class_=f"kind {style}")),
        tables.figure(cosine, f"{cosine or 0:.5f}"),
        tables.figure(error, f"{error or 0:.3g}"),
        tables.nothing() if macs is None else tables.figure(macs, f"{macs:,}"),
        tables.words(join((layer.note, tag("small", layer.because))), class_="long"),
        tables.words(layer.why),
    ]
