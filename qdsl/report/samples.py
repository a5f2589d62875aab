"""The samples whose answers differ most: the picture as the float model and as the build see it, side by side."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from qdsl.harness.results import Box, ClassMap, Evaluation, Odd, Shown, Views
from qdsl.report.charts import drawing, legend
from qdsl.report.data import Method, Picture
from qdsl.report.html import NOTHING, Html, number, tag

_MOST = 120  # boxes of one picture
_SAME = 0.5  # the overlap (IoU) from which two boxes of a class are one thing
_COLOURS = 8  # of class maps


def cards(evaluation: Evaluation, method: Method, used: set[str]) -> Html:
    """A card per sample, most different first. `used` are the pictures that stand in the page already: each is in it
    once, and shown by name elsewhere."""
    found = [odd for odd in evaluation.odd if odd.build == method.facts.target]
    if not found:
        return tag("p", "No answer differs from the float model's.", class_="note")
    keys = _keys(evaluation, found)
    drawn = [_card(odd, evaluation, method, used) for odd in found]
    drawable = any(odd.views is not None for odd in found)
    return tag("div", keys, tag("div", *drawn, class_="cards drawn" if drawable else "cards"))


def _keys(evaluation: Evaluation, found: Sequence[Odd]) -> Html:
    """What the colours in the pictures mean."""
    if any(odd.views is not None and odd.views.truth.cells is not None for odd in found):
        names = [(f"c{at % _COLOURS}", name) for at, name in enumerate(evaluation.classes[:_COLOURS])]
        return legend(names)
    if any(odd.views is not None for odd in found):
        rows = [("box same", "found by both"), ("box changed", "found by one alone"), ("box truth", "labelled")]
        return legend(rows)
    return NOTHING


def _card(odd: Odd, evaluation: Evaluation, method: Method, used: set[str]) -> Html:
    picture = method.build.pictures.get(odd.picture)
    answers = (("float", odd.float_answer), (method.label, odd.answer))
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", said), tag("td", _sign(evaluation, odd, said)))
        for name, said in answers
    ]
    if odd.truth:
        rows.append(tag("tr", tag("th", "labelled", scope="row"), tag("td", odd.truth), tag("td")))
    return tag(
        "figure",
        tag("figcaption", tag("b", odd.sample), tag("span", f"differs by {odd.distance:.3g}", class_="far")),
        _panels(odd, evaluation.classes, method.label, picture, used),
        tag("table", tag("tbody", *rows)),
        aria_label=f"{odd.sample}: float and {method.label}",
        class_="card",
    )


def _sign(evaluation: Evaluation, odd: Odd, said: str) -> Html:
    """Whether a class is right, where an answer is one class."""
    if evaluation.task != "classification" or not odd.truth:
        return NOTHING
    right = said.rpartition(" ")[0] == odd.truth
    return tag("span", "✓ right" if right else "✗ wrong", class_="good" if right else "bad")


def _panels(odd: Odd, classes: Sequence[str], label: str, picture: Picture | None, used: set[str]) -> Html:
    """The picture once for each that sees something in it; alone where answers are words."""
    views = odd.views
    if views is None:
        if picture is None:
            return tag("p", "No picture of it is kept.", class_="missing")
        image = _image(odd.picture, picture, picture.height, picture.width, used)
        return drawing(f"{odd.sample}, answered {odd.answer}", picture.height, [image], picture.width)
    seen = [("float", views.float_answer, views.answer), (label, views.answer, views.float_answer)]
    if views.truth.cells is not None:
        seen.insert(0, ("labelled", views.truth, views.truth))
    panels = []
    for name, mine, other in seen:
        image = _image(odd.picture, picture, views.height, views.width, used) if picture is not None else _blank(views)
        marks = _marks(mine, other, views, classes)
        told = f"{odd.sample} as seen by {name}"
        panels.append(tag("div", tag("span", name), drawing(told, views.height, [image, *marks], views.width)))
    return tag("div", *panels, class_="panels")


def _image(name: str, picture: Picture, height: float, width: float, used: set[str]) -> Html:
    """The picture, or where it stands in the page already, a reference to it."""
    mark = f"picture-{name.removesuffix('.jpg')}"
    if mark in used:
        return tag("use", href=f"#{mark}")
    used.add(mark)
    content = base64.b64encode(picture.content).decode("ascii")
    box = {"height": height, "width": width}
    return tag("image", id=mark, href=f"data:image/jpeg;base64,{content}", preserveAspectRatio="none", **box)


def _blank(views: Views) -> Html:
    return tag("rect", width=views.width, height=views.height, class_="blank")


def _marks(mine: Shown, other: Shown, views: Views, classes: Sequence[str]) -> list[Html]:
    if mine.cells is not None:
        return _painted(mine.cells, views, classes)
    marks = [_rectangle(box, "truth", f"labelled: {_name(box, classes)}") for box in views.truth.boxes[:_MOST]]
    size = max(views.height, views.width) / 26
    for box, shared in _paired(mine.boxes[:_MOST], other.boxes[:_MOST]):
        told = _name(box, classes) + ("" if box.score is None else f" {box.score:.2f}")
        marks.append(_rectangle(box, "same" if shared else "changed", told))
        if not shared:
            marks.append(_told(told, box, views, size))
    return marks


def _told(told: str, box: Box, views: Views, size: float) -> Html:
    """Words above a box, or inside it at the upper edge; to the left of its right side where there is no room."""
    level = box.y0 - size / 4 if box.y0 > size * 1.3 else box.y0 + size
    right = box.x0 > 0.65 * views.width
    side, kind = (box.x1, "told end") if right else (box.x0, "told")
    return tag("text", told, x=side, y=level, class_=f"{kind} z{10 * size:.0f}")


def _rectangle(box: Box, style: str, told: str) -> Html:
    return tag(
        "rect",
        tag("title", told),
        x=box.x0,
        y=box.y0,
        width=max(0.0, box.x1 - box.x0),
        height=max(0.0, box.y1 - box.y0),
        class_=f"box {style}",
    )


def _name(box: Box, classes: Sequence[str]) -> str:
    return classes[box.label] if box.label < len(classes) else str(box.label)


def _paired(boxes: Sequence[Box], others: Sequence[Box]) -> list[tuple[Box, bool]]:
    """Each box, and whether the other answer has it: matched at IoU 0.5 within a class, in falling order of score."""
    free = list(others)
    found = []
    for box in sorted(boxes, key=lambda box: -(box.score or 0.0)):
        alike = [other for other in free if other.label == box.label and _overlap(box, other) >= _SAME]
        if alike:
            free.remove(max(alike, key=lambda other: _overlap(box, other)))
        found.append((box, bool(alike)))
    return found


def _overlap(one: Box, two: Box) -> float:
    wide = min(one.x1, two.x1) - max(one.x0, two.x0)
    high = min(one.y1, two.y1) - max(one.y0, two.y0)
    shared = max(0.0, wide) * max(0.0, high)
    both = (one.x1 - one.x0) * (one.y1 - one.y0) + (two.x1 - two.x0) * (two.y1 - two.y0) - shared
    return shared / both if both > 0 else 0.0


def _painted(cells: ClassMap, views: Views, classes: Sequence[str]) -> list[Html]:
    """One path per class over the picture: a rectangle for each run of cells within a row."""
    paths: dict[int, list[str]] = {}
    by_x, by_y = views.width / cells.width, views.height / cells.height
    at = 0
    for label, count in cells.runs:
        while count:
            row, column = divmod(at, cells.width)
            part = min(count, cells.width - column)
            box = f"M{number(column * by_x)} {number(row * by_y)}h{number(part * by_x)}"
            paths.setdefault(label, []).append(f"{box}v{number(by_y)}h{number(-part * by_x)}z")
            at, count = at + part, count - part
    return [
        tag(
            "path",
            tag("title", classes[label] if label < len(classes) else str(label)),
            d="".join(path),
            class_=f"cells c{label % _COLOURS}",
        )
        for label, path in sorted(paths.items())
        if label >= 0
    ]
