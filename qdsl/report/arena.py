"""The memory of a network over its steps, drawn: bytes upwards, steps to the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdsl.report import tables, words
from qdsl.report.axes import Axis, axis
from qdsl.report.charts import Words, drawing, figure, legend
from qdsl.report.data import Method
from qdsl.report.html import NOTHING, Html, number, tag
from qdsl.spec.arena import Arena, Held
from qdsl.spec.words import shortened

_WIDE, _LEFT, _RIGHT = 880.0, 64.0, 872.0
_TOP, _BOTTOM, _BELOW = 26.0, 346.0, 42.0
_LETTER, _LINE = 6.6, 15.0  # how wide a letter is, and how high a name
# The CSS class of each kind: its colour, and how its edge is drawn.
_STYLES = {"input": "s1", "tensor": "s0", "output": "s2", "ring": "s3 ring", "scratch": "s5 scratch"}
_NAMES = {
    "input": "input of the network",
    "tensor": "tensor",
    "output": "output of the network",
    "ring": "rows that a pipeline keeps",
    "scratch": "scratch",
}


def part(methods: Sequence[Method]) -> Html:
    """A picture for each artifact whose memory was laid out; nothing where there is none."""
    shown = []
    for method in methods:
        if method.facts.arena is not None:
            head = [tag("h3", method.label)] if len(methods) > 1 else []
            shown.append(tag("div", *head, arena(method.facts.arena)))
    return tag("div", *shown) if shown else NOTHING


def arena(found: Arena) -> Html:
    """Its picture, and a table of the same."""
    lead = tag("p", f"{told(found)}.", class_="lead")
    return tag("div", lead, _picture(found), _table(found))


def told(found: Arena) -> str:
    """How much it is, whether that is proven to be the least, and how many pipelines there are."""
    if found.size <= found.bound:
        proven = "no plan takes fewer"
    else:
        proven = f"a plan may take {found.size - found.bound:,} fewer, but none takes fewer than {found.bound:,}"
    pipelines = words.count(found.pipelines, "pipeline")
    return f"{found.size:,} bytes for {words.count(len(found.steps), 'step')}, {pipelines} among them; {proven}"


def _picture(found: Arena) -> Html:
    y = axis("KiB", [found.size / 1024], zero=True)
    parts = list(_grid(found, y))
    for each in found.held:
        parts += _box(found, y, each)
    kinds = [(f"{_STYLES[kind]}", _NAMES[kind]) for kind in _NAMES if any(each.kind == kind for each in found.held)]
    label = f"Memory over {words.count(len(found.steps), 'step')}: {told(found)}"
    shown = Words("Memory over time", label, "What shares memory at one step is written behind what was read.")
    return figure(shown, drawing(label, _BOTTOM + _BELOW, parts, _WIDE), legend(kinds))


def _grid(found: Arena, y: Axis) -> Iterator[Html]:
    """Lines across at round sizes, and numbers of steps below; before the first one only inputs are there, after the
    last one only outputs."""
    yield tag("text", y.title, x=0, y=12, class_="axis")
    for value in y.marks:
        at = y.place(value, _BOTTOM, _TOP)
        yield tag("path", d=f"M{number(_LEFT)} {number(at)}H{number(_RIGHT)}", class_="grid")
        yield tag("text", y.words(value), x=_LEFT - 6, y=at + 4, class_="tick end")
    every = max(1, -(-len(found.steps) // 20))
    for step in range(0, len(found.steps), every):
        middle = (_across(found, step) + _across(found, step + 1)) / 2
        yield tag("text", str(step), x=middle, y=_BOTTOM + 16, class_="tick middle")
    yield tag("text", "step", x=(_LEFT + _RIGHT) / 2, y=_BOTTOM + 34, class_="axis middle")


def _across(found: Arena, step: int) -> float:
    """Where the column of a step begins, -1 the first of all."""
    return _LEFT + (_RIGHT - _LEFT) * (step + 1) / (len(found.steps) + 2)


def _box(found: Arena, y: Axis, each: Held) -> list[Html]:
    left, right = _across(found, each.first), _across(found, each.last + 1)
    top = y.place((each.at + each.size) / 1024, _BOTTOM, _TOP)
    high = y.place(each.at / 1024, _BOTTOM, _TOP) - top
    rows = f", {words.count(each.rows, 'row')}" if each.rows else ""
    tip = tag(
        "title", f"{each.name}: {_NAMES[each.kind]}{rows}, {each.size:,} bytes from {each.at:,} on, {_during(each)}"
    )
    style = f"held {_STYLES[each.kind]}"
    parts = [tag("rect", tip, x=left, y=top, width=right - left, height=max(0.5, high), class_=style)]
    letters = int((right - left - 6) / _LETTER)
    if letters >= 6 and high >= _LINE:
        name = shortened(each.name, letters)
        parts.append(tag("text", name, x=(left + right) / 2, y=top + high / 2 + 4, class_="name middle"))
    return parts


def _during(each: Held) -> str:
    return f"step {each.first}" if each.first == each.last else f"steps {each.first} to {each.last}"


def _table(found: Arena) -> Html:
    rows = [
        [
            tables.name(each.name),
            tables.words(_NAMES[each.kind]),
            tables.figure(each.size, f"{each.size:,}"),
            tables.figure(each.at, f"{each.at:,}"),
            tables.figure(each.first, str(each.first)),
            tables.figure(each.last, str(each.last)),
        ]
        for each in found.held
    ]
    return tables.table("What lies in memory", ("what", "kind", "bytes", "from", "first step", "last step"), rows)
