"""The drawn graph as SVG: boxes that say what they are without colour, lines, and a small view of the whole.

Where everything stands is fixed here; a script only moves, marks and colours it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdsl.auditing.formats.drawing import Box, Drawing, Line
from qdsl.auditing.report import TensorFacts
from qdsl.diag import Severity
from qdsl.report.html import NOTHING, Html, number, tag
from qdsl.spec.words import plain, shortened

WIDE, HIGH = 164.0, 42.0
_ACROSS, _DOWN = 190.0, 78.0  # from one box to the next
_MARGIN = 24.0
_CHIP = 15.0
_LETTERS = 24
_MARKS = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.NOTE: "open"}


@dataclass(frozen=True, slots=True)
class Look:
    """How a box looks: what it runs as on the first target ("" for inputs and outputs), its error in dB and its share
    of the noise at the outputs, None where they were not measured, and the number of its findings with the gravest
    level of them."""

    runs: str
    error_db: float | None = None
    share: float | None = None
    findings: int = 0
    worst: Severity | None = None


def graph(drawing: Drawing, looks: Sequence[Look], tensors: Sequence[TensorFacts], label: str) -> Html:
    """The whole drawing. Boxes have their number as `data-i`, lines the numbers of their ends."""
    wide, high = size(drawing)
    lines = [_line(drawing, each) for each in drawing.lines]
    boxes = [_box(drawing, at, look, tensors) for at, look in enumerate(looks)]
    world = tag("g", tag("g", *lines, class_="lines"), tag("g", *boxes, class_="boxes"), id="world")
    return tag(
        "svg",
        world,
        id="graph",
        viewBox=f"0 0 {number(wide)} {number(high)}",
        role="application",
        aria_label=label,
        aria_describedby="keys",
        tabindex="0",
        data_wide=wide,
        data_high=high,
    )


def overview(drawing: Drawing, looks: Sequence[Look]) -> Html:
    """All boxes as dots, the drawing pressed into a strip; findings stand out."""
    wide, high = size(drawing)
    dots = []
    for at, look in enumerate(looks):
        x, y = _corner(drawing, at)
        dots.append(tag("rect", x=x, y=y, width=WIDE, height=HIGH, class_=f"dot {_kind(look)}", data_o=str(at)))
    marks = []
    for at, look in enumerate(looks):
        if look.worst is not None:
            x, y = _corner(drawing, at)
            marks.append(
                tag("path", d=f"M{number(x + WIDE / 2)} {number(y)}v{number(HIGH)}", class_=_MARKS[look.worst])
            )
    view = tag("rect", x=0, y=0, width=wide, height=high, id="view")
    box = f"0 0 {number(wide)} {number(high)}"
    return tag("svg", *dots, *marks, view, id="overview", viewBox=box, preserveAspectRatio="none", aria_hidden="true")


def size(drawing: Drawing) -> tuple[float, float]:
    """Of the drawing, in pixels."""
    columns, layers = drawing.layout.size
    return 2 * _MARGIN + (columns - 1) * _ACROSS + WIDE, 2 * _MARGIN + (layers - 1) * _DOWN + HIGH + _CHIP


def decibels(value: float) -> str:
    """`12.5 dB`; "no error" where there is none to speak of."""
    return f"{value:.1f} dB" if value < 1000 else "no error"


def _corner(drawing: Drawing, at: int) -> tuple[float, float]:
    column, layer = drawing.layout.places[at]
    return _MARGIN + column * _ACROSS, _MARGIN + layer * _DOWN


def _kind(look: Look) -> str:
    known = ("integer", "float", "float16", "absorbed", "moves")
    return f"r-{look.runs}" if look.runs in known else "r-none"


def _box(drawing: Drawing, at: int, look: Look, tensors: Sequence[TensorFacts]) -> Html:
    box = drawing.boxes[at]
    x, y = _corner(drawing, at)
    corner = {"runs": look.runs}
    corner |= {} if look.error_db is None else {"db": decibels(look.error_db)}
    corner |= {} if look.share is None else {"cost": f"{100 * look.share:.0f} %"}
    return tag(
        "g",
        tag("title", shortened(plain(f"{box.op}: {box.name}"), 200)),
        *_chips(box, tensors),
        tag("rect", width=WIDE, height=HIGH, rx=7, class_="body"),
        tag("path", d=f"M4 6v{number(HIGH - 12)}", class_="band"),
        tag("text", shortened(plain(box.op), 14), x=12, y=17, class_="op"),
        *(tag("text", words, x=WIDE - 7, y=17, class_=name) for name, words in corner.items()),
        tag("text", shortened(plain(box.name), _LETTERS), x=12, y=33, class_="name"),
        _mark(look),
        transform=f"translate({number(x)} {number(y)})",
        class_=" ".join(("box", box.kind, _kind(look), *_heat(look))),
        data_i=str(at),
    )


def _heat(look: Look) -> Iterator[str]:
    """Classes: h9 where what is rounded is as large as the value, h0 from 40 dB on; k9 where all of the noise at the
    outputs comes from here, k0 for none, the root in between so that a hundredth still shows."""
    if look.error_db is not None:
        yield f"h{round(min(9.0, max(0.0, (40 - look.error_db) * 9 / 40)))}"
    if look.share is not None:
        yield f"k{round(9 * min(1.0, max(0.0, look.share)) ** 0.5)}"


def _mark(look: Look) -> Html:
    if look.worst is None:
        return NOTHING
    words = str(look.findings) if look.findings < 100 else "99"
    return tag(
        "g",
        tag("circle", cx=WIDE - 2, cy=2, r=9),
        tag("text", words, x=WIDE - 2, y=6),
        class_=f"mark {_MARKS[look.worst]}",
    )


def _chips(box: Box, tensors: Sequence[TensorFacts]) -> Iterator[Html]:
    """The types in which what a box writes goes on, below it: of several pairs on one tensor each."""
    elements = list(dict.fromkeys(tensors[each].element for each in box.tensors))[:2]
    for at, element in enumerate(elements):
        word = shortened(plain(element), 12)
        wide = 12 + 6 * len(word)
        x = 10 + at * 74
        yield tag("rect", x=x, y=HIGH - 4, width=wide, height=_CHIP + 4, rx=5, class_="chip-body")
        yield tag("text", word, x=x + wide / 2, y=HIGH + 11, class_="chip-text")


def _line(drawing: Drawing, line: Line) -> Html:
    way = drawing.layout.ways.get((line.source, line.target))
    kind = "line integers" if line.integers else "line"
    return tag(
        "path",
        d=_path(drawing, line, way or ()),
        class_=kind if way is not None else f"{kind} far",
        data_a=str(line.source),
        data_b=str(line.target),
    )


def _path(drawing: Drawing, line: Line, way: Sequence[tuple[float, float]]) -> str:
    """From below the one box to above the other, upright where it passes a layer."""
    x, y = _corner(drawing, line.source)
    told = [f"M{number(x + WIDE / 2)} {number(y + HIGH)}"]
    at_x, at_y = x + WIDE / 2, y + HIGH
    x, y = _corner(drawing, line.target)
    stops = [(_MARGIN + column * _ACROSS + WIDE / 2, _MARGIN + layer * _DOWN) for column, layer in way]
    for to_x, to_y in [*stops, (x + WIDE / 2, y)]:
        if abs(to_x - at_x) < 0.5:
            told.append(f"V{number(to_y)}")
        else:
            middle = number((at_y + to_y) / 2)
            told.append(f"C{number(at_x)} {middle} {number(to_x)} {middle} {number(to_x)} {number(to_y)}")
        at_x, at_y = to_x, to_y
        if (to_x, to_y) in stops:
            told.append(f"v{number(HIGH)}")
            at_y += HIGH
    return "".join(told)
