"""Tables that sort by any column: each heading is a button, each number carries its value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from qdsl.report.html import NOTHING, Html, join, tag
from qdsl.report.words import NOT_MEASURED

_VERDICTS = {"holds": ("good", "✓"), "broken": ("bad", "✗"), "undecided": ("open", "?")}


def words(shown: str, **attributes: str | float | None) -> Html:
    """A cell of text."""
    return tag("td", shown, **attributes)


def name(shown: str) -> Html:
    """The cell that says what its row is."""
    return tag("th", shown, scope="row")


def figure(value: float | None, shown: str) -> Html:
    """A cell with a number and what it looks like; None is "not measured" and sorts last, whichever way."""
    if value is None or math.isnan(value):
        return tag("td", NOT_MEASURED, class_="figure missing", data_v="")
    exact = repr(value) if math.isfinite(value) else ("-" if value < 0 else "") + "Infinity"
    return tag("td", shown, class_="figure", data_v=exact)


def nothing() -> Html:
    """A cell in which nothing belongs."""
    return tag("td", class_="figure", data_v="")


def barred(value: float | None, shown: str, part: float, style: str) -> Html:
    """The same with a bar below it, `part` (0..1) of the cell's width."""
    cell = figure(value, shown)
    if value is None or math.isnan(value):
        return cell
    return Html(cell.removesuffix("</td>") + bar(part, style) + "</td>")


def bar(part: float, style: str) -> Html:
    """A thin bar, `part` (0..1) of its track: a look at a figure that stands beside it in words."""
    inside = tag("span", class_=f"bar {style} w{100 * min(1.0, max(0.0, part)):.0f}")
    return tag("span", inside, class_="track", aria_hidden="true")


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Html]], mark: str = "") -> Html:
    """A table in a frame of its own, which scrolls where the screen is narrow. `mark` is its id."""
    numeric = [any(row[at].startswith('<td class="figure') for row in rows) for at in range(len(columns))]
    heads = (
        tag("th", tag("button", column, type="button"), scope="col", class_="figure" if right else None)
        for column, right in zip(columns, numeric, strict=True)
    )
    body = (tag("tr", *row) for row in rows)
    inside = (tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *body))
    return _framed(caption, tag("table", *inside, id=mark or None, class_="sortable"))


def _framed(caption: str, inside: Html) -> Html:
    """What is scrolled by itself has to be reached by the keyboard, and to have a name."""
    return tag("div", inside, class_="scroll", role="region", tabindex="0", aria_label=caption)


def chip(verdict: str, told: str = "") -> Html:
    """A budget's verdict: a sign, a colour and the word, or what is `told` instead."""
    style, sign = _VERDICTS.get(verdict, _VERDICTS["undecided"])
    return tag("span", tag("span", sign, aria_hidden="true"), f" {told or verdict}", class_=f"chip {style}")


def pairs(rows: Sequence[tuple[str, str]]) -> Html:
    """Names and what they are, one pair a line."""
    return tag("dl", *(join((tag("dt", key), tag("dd", value))) for key, value in rows)) if rows else NOTHING


def kernels(found: Iterable[tuple[str, int, int]]) -> Html:
    """How many nodes of each integer kernel were predicted, and how many ran; nothing where there are none."""
    rows = []
    for kernel, predicted, real in found:
        same = predicted == real
        told = words("as predicted") if same else words("NOT as predicted", class_="differs")
        rows.append([name(kernel), figure(predicted, str(predicted)), figure(real, str(real)), told])
    columns = ("operator", "predicted", "really run", "agreement")
    return table("Integer kernels", columns, rows) if rows else NOTHING


def matrix(caption: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    """A confusion matrix: rows the truth, columns the answer; the darker, the larger the share of its row."""
    head = tag("tr", tag("td"), *(tag("th", each, scope="col") for each in classes))
    rows = []
    for label, row in zip(classes, counts, strict=True):
        total = sum(row)
        cells = []
        for count in row:
            part = count / total if total else 0.0
            cells.append(tag("td", str(count), class_=f"p{100 * part:.0f}", data_v=str(count)))
        rows.append(tag("tr", tag("th", label, scope="row"), *cells))
    inside = (tag("caption", caption), tag("thead", head), tag("tbody", *rows))
    return _framed(caption, tag("table", *inside, class_="matrix"))
