"""Charts as inline SVG: no library, no script. What a mark stands for is its tooltip, and all of them have a table.

A style is a number: 0 is the float model, the builds count from 1. Colour, dash and shape follow from it, so that no
chart needs colour alone to be read. Text keeps its size on a phone since a chart is never wider than one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qdsl.report.axes import Axis
from qdsl.report.html import NOTHING, Html, number, tag
from qdsl.spec.words import shortened

STYLES = 8
_WIDE, _LEFT, _RIGHT, _TOP = 440.0, 52.0, 428.0, 26.0
_HIGH = 200.0  # of the area inside the axes
_BELOW = 42.0
_DOTTED = 260  # points that are drawn one by one
_MOST = 1200  # points of one line
_ROW, _HEADING, _ABOVE = 20.0, 24.0, 34.0
_VALUE = 96.0  # the words behind a bar
_LETTERS, _LETTER = 58, 6.6  # of a name above its bar, and how wide one is
_LINE, _TEXT = 13.0, 170.0  # high and wide: the text beside a point


@dataclass(frozen=True, slots=True)
class Words:
    """What stands around a chart: its title, what it says to those who cannot see it, and where figures are from."""

    title: str
    label: str
    caption: str


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name, its style and its points, from left to right."""

    name: str
    style: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """A point with a name; `low` and `high` are the ends of an interval around `y`."""

    name: str
    style: int
    x: float
    y: float
    tip: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: its name, its value (None: not measured) and that in words, the CSS class of its colour, an interval, and
    a bound that is marked. `group` stands above the first of those that follow one another with the same one."""

    name: str
    value: float | None
    words: str
    style: str
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    group: str = ""


def figure(words: Words, drawing: Html, legend: Html = NOTHING) -> Html:
    """A drawing with its title, legend and caption."""
    return tag(
        "figure",
        tag("h4", words.title),
        legend,
        drawing,
        tag("figcaption", words.caption),
        aria_label=words.title,
    )


def drawing(label: str, height: float, parts: Iterable[Html], width: float = _WIDE) -> Html:
    """An image of `width` x `height` units that scales with the page."""
    box = f"0 0 {number(width)} {number(height)}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=label)


def legend(names: Sequence[tuple[str, str]]) -> Html:
    """(CSS class, name) of each colour."""
    return tag(
        "ul",
        *(tag("li", tag("span", class_=f"key {style}"), name) for style, name in names),
        class_="legend",
    )


def of_style(style: int) -> str:
    """The CSS class of a style."""
    return f"s{0 if style == 0 else 1 + (style - 1) % (STYLES - 1)}"


def lines(words: Words, x: Axis, y: Axis, series: Sequence[Series], *, steps: bool = False, dots: bool = False) -> Html:
    """Lines over a common axis. With `steps`, a value holds until the next point; with `dots`, points show, too."""
    parts = _frame(x, y)
    for each in series:
        placed = [_place(x, y, point) for point in _thinned(each.points)]
        style = of_style(each.style)
        tip = tag("title", each.name)
        parts.append(tag("path", tip, d=_path(placed, steps), class_=f"line {style}{' faint' if dots else ''}"))
        if dots and len(placed) <= _DOTTED:
            parts += [
                tag("circle", tag("title", _told(each.name, x, y, point)), cx=at[0], cy=at[1], r=1.8, class_=style)
                for point, at in zip(each.points, placed, strict=True)
            ]
    names = [(f"{of_style(each.style)} dash", each.name) for each in series]
    return figure(words, drawing(words.label, _TOP + _HIGH + _BELOW, parts), legend(names))


def scatter(words: Words, x: Axis, y: Axis, spots: Sequence[Spot]) -> Html:
    """Named points, each of its own shape."""
    parts = _frame(x, y)
    levels = _apart([_place(x, y, (spot.x, spot.y)) for spot in spots])
    for spot, level in zip(spots, levels, strict=True):
        at_x, at_y = _place(x, y, (spot.x, spot.y))
        style = of_style(spot.style)
        if spot.low is not None and spot.high is not None:
            ends = [_place(x, y, (spot.x, end))[1] for end in (spot.low, spot.high)]
            parts.append(tag("path", d=f"M{number(at_x)} {number(ends[0])}V{number(ends[1])}", class_="whisker"))
        parts.append(tag("path", tag("title", spot.tip), d=_shape(spot.style, at_x, at_y), class_=f"spot {style}"))
        left = at_x > (_LEFT + _RIGHT) / 2
        beside, anchor = (at_x - 9, "name end") if left else (at_x + 9, "name")
        parts.append(tag("text", shortened(spot.name, 30), x=beside, y=level + 4, class_=anchor))
    return figure(words, drawing(words.label, _TOP + _HIGH + _BELOW, parts))


def bars(
    words: Words, x: Axis, rows: Sequence[Bar], *, names: float = 0.0, dots: bool = False, key: Html = NOTHING
) -> Html:
    """Horizontal bars from zero, in groups. `names` is the width for names beside the bars; 0 puts them above, with the
    values in words at the other end. With `dots`, values are points: what counts then is the interval."""
    left, right = (names, _RIGHT - _VALUE) if names else (12.0, _RIGHT)
    step = _ROW if names else _ABOVE
    parts: list[Html] = []
    level, group = 6.0, ""
    for row in rows:
        if row.group and row.group != group:
            parts.append(tag("text", shortened(row.group, 60), x=0, y=level + 16, class_="group"))
            level += _HEADING
        group = row.group
        parts += _row(x, row, level, (left, right), dots, above=not names)
        level += step
    grid = [
        mark
        for value in x.marks
        for mark in (
            tag("path", d=f"M{number(x.place(value, left, right))} 4V{number(level + 3)}", class_="grid"),
            _below(x.words(value), x.place(value, left, right), level + 17),
        )
    ]
    titles = [tag("text", x.title, x=(left + right) / 2, y=level + 34, class_="axis middle")] if x.title else []
    below = _BELOW if titles else _BELOW / 2
    return figure(words, drawing(words.label, level + below, [*grid, *parts, *titles]), key)


def depth(words: Words, y: Axis, rows: Sequence[Bar], key: Html) -> Html:
    """One thin bar per row, side by side in their order: where along a graph something happens."""
    wide = (_RIGHT - _LEFT) / max(1, len(rows))
    parts = _rows_of(y)
    base = y.place(0.0, _TOP + _HIGH, _TOP)
    for at, row in enumerate(rows):
        if row.value is None:
            continue
        top = y.place(row.value, _TOP + _HIGH, _TOP)
        box = {"x": _LEFT + at * wide, "width": max(0.6, wide * 0.8), "y": min(top, base)}
        tip = tag("title", f"{row.name}: {row.words}")
        parts.append(tag("rect", tip, height=max(1.0, abs(base - top)), class_=row.style, **box))
    below = (_LEFT + _RIGHT) / 2
    title = tag("text", "layers in the order of the graph", x=below, y=_TOP + _HIGH + 20, class_="axis middle")
    return figure(words, drawing(words.label, _TOP + _HIGH + 28, [*parts, title]), key)


def stack(words: Words, parts: Sequence[tuple[str, str, float, str]]) -> Html:
    """One bar cut into (CSS class, name, amount, amount in words): shares of a whole."""
    total = math.fsum(amount for _, _, amount, _ in parts) or 1.0
    at = 0.0
    drawn: list[Html] = []
    for style, name, amount, told in parts:
        wide = _WIDE * amount / total
        tip = tag("title", f"{name}: {told}")
        drawn.append(tag("rect", tip, x=at, y=0, width=max(0.0, wide - 1), height=26, class_=style))
        at += wide
    key = legend([(style, f"{name}: {told}") for style, name, _, told in parts])
    return figure(words, drawing(words.label, 26, drawn), key)


def _frame(x: Axis, y: Axis) -> list[Html]:
    """Both axes with their marks and titles."""
    bottom = _TOP + _HIGH
    parts = _rows_of(y)
    for value in x.marks:
        at = x.place(value, _LEFT, _RIGHT)
        parts.append(tag("path", d=f"M{number(at)} {number(bottom)}v4", class_="rule"))
        parts.append(_below(x.words(value), at, bottom + 16))
    parts.append(tag("text", x.title, x=(_LEFT + _RIGHT) / 2, y=bottom + 34, class_="axis middle"))
    return parts


def _below(words: str, at: float, level: float) -> Html:
    """The words of a mark under it, or as far to the right as there is room."""
    if at + _LETTER * len(words) / 2 > _WIDE:
        return tag("text", words, x=_WIDE, y=level, class_="tick end")
    return tag("text", words, x=at, y=level, class_="tick middle")


def _rows_of(y: Axis) -> list[Html]:
    """The upright axis: a line across for each mark, and the title above."""
    parts = [tag("text", y.title, x=0, y=12, class_="axis")]
    for value in y.marks:
        at = y.place(value, _TOP + _HIGH, _TOP)
        parts.append(tag("path", d=f"M{number(_LEFT)} {number(at)}H{number(_RIGHT)}", class_="grid"))
        parts.append(tag("text", y.words(value), x=_LEFT - 6, y=at + 4, class_="tick end"))
    return parts


def _row(x: Axis, row: Bar, level: float, place: tuple[float, float], dots: bool, *, above: bool) -> list[Html]:
    """One bar of `bars`, with its name, its interval and its value in words."""
    left, right = place
    middle = level + (_ABOVE - 9 if above else _ROW / 2)
    if above:
        name = tag("text", shortened(row.name, _LETTERS - len(row.words)), x=left, y=level + 13, class_="name")
    else:
        name = tag("text", shortened(row.name, max(6, int(left / 6.4))), x=left - 8, y=middle + 4, class_="name end")
    if row.value is None:
        at = (_RIGHT, level + 13, "missing end") if above else (left + 6, middle + 4, "missing")
        return [name, tag("text", row.words, x=at[0], y=at[1], class_=at[2])]
    drawn, furthest = _drawn(x, row, row.value, (left, right, middle), dots)
    at = (_RIGHT, level + 13, "value end") if above else (furthest + 6, middle + 4, "value")
    return [name, *drawn, tag("text", row.words, x=at[0], y=at[1], class_=at[2])]


def _drawn(x: Axis, row: Bar, value: float, place: tuple[float, float, float], dots: bool) -> tuple[list[Html], float]:
    """The bar or point itself with its interval and bound, and how far to the right they reach."""
    left, right, middle = place
    zero, end = x.place(0.0, left, right), x.place(value, left, right)
    tip = tag("title", f"{row.name}: {row.words}")
    parts, reach = [], [zero, end]
    if not dots:
        start, wide = min(zero, end), max(1.0, abs(end - zero))
        parts.append(tag("rect", tip, x=start, y=middle - 6, width=wide, height=12, rx=2, class_=row.style))
    if row.low is not None and row.high is not None and math.isfinite(row.low) and math.isfinite(row.high):
        ends = (x.place(row.low, left, right), x.place(row.high, left, right))
        parts.append(tag("path", d=_whisker(*ends, middle), class_="whisker"))
        reach += ends
    if dots:
        parts.append(tag("circle", tip, cx=end, cy=middle, r=4.5, class_=row.style))
    if row.bound is not None:
        at = x.place(row.bound, left, right)
        named = tag("title", f"{row.name}: the budget")
        parts.append(tag("path", named, d=f"M{number(at)} {number(middle - 9)}v18", class_="bound"))
        reach.append(at)
    return parts, max(reach)


def _whisker(low: float, high: float, middle: float) -> str:
    """A line with a short cap at either end."""
    top = number(middle - 4)
    return f"M{number(low)} {top}v8M{number(low)} {number(middle)}H{number(high)}M{number(high)} {top}v8"


def _place(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    return x.place(point[0], _LEFT, _RIGHT), y.place(point[1], _TOP + _HIGH, _TOP)


def _path(points: Sequence[tuple[float, float]], steps: bool) -> str:
    told = []
    for at, (x, y) in enumerate(points):
        if at == 0:
            told.append(f"M{number(x)} {number(y)}")
        else:
            told.append(f"H{number(x)}V{number(y)}" if steps else f"L{number(x)} {number(y)}")
    return "".join(told)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of very many points, the lowest and the highest of each stretch: what sticks out stays."""
    if len(points) <= _MOST:
        return list(points)
    kept = []
    stretch = math.ceil(2 * len(points) / _MOST)
    for start in range(0, len(points), stretch):
        part = range(start, min(start + stretch, len(points)))
        ends = {min(part, key=lambda at: points[at][1]), max(part, key=lambda at: points[at][1])}
        kept += [points[at] for at in sorted(ends)]
    return kept


def _told(name: str, x: Axis, y: Axis, point: tuple[float, float]) -> str:
    return f"{name}: {x.title} {point[0]:g}, {y.title} {point[1]:.4g}"


def _apart(places: Sequence[tuple[float, float]]) -> list[float]:
    """The level of a text beside each place, moved down where two texts would lie over one another."""
    levels = [level for _, level in places]
    done: list[int] = []
    for at in sorted(range(len(places)), key=lambda at: levels[at]):
        near = [levels[other] for other in done if abs(places[other][0] - places[at][0]) < _TEXT]
        levels[at] = max([levels[at], *(level + _LINE for level in near if level > levels[at] - _LINE)])
        done.append(at)
    return levels


def _shape(style: int, x: float, y: float) -> str:
    """A circle for the float model; squares, triangles, diamonds and crosses for the builds."""
    if style == 0:
        return f"M{number(x - 5)} {number(y)}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z"
    drawn = ("m-5 -5h10v10h-10z", "m0 -6l6 11h-12z", "m0 -7l6 7l-6 7l-6 -7z", "m-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4z")
    return f"M{number(x)} {number(y)}{drawn[(style - 1) % len(drawn)]}"
