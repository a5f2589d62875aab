"""The audit as one page: the graph drawn, coloured by what runs or by error, with the findings beside it.

It needs no network: see `qdsl.report.shell`. Names come from untrusted files: markup is escaped by `qdsl.report.html`,
and what the script shows is text to it, never markup.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from qdsl.auditing.formats import svg
from qdsl.auditing.formats.about import facts
from qdsl.auditing.formats.causes_list import causes, noise_shares
from qdsl.auditing.formats.drawing import Drawing, draw
from qdsl.auditing.formats.findings import findings
from qdsl.auditing.formats.told import relative
from qdsl.auditing.formats.wiring import Wiring
from qdsl.auditing.report import LEVELS, AuditReport, Section
from qdsl.report.html import NOTHING, Html, join, tag
from qdsl.report.shell import asset, document, theme_switch
from qdsl.spec.words import count, mebibytes, percent, plain

_HERE = "qdsl.auditing.formats"
KINDS = ("integer", "absorbed", "float16", "float", "moves")
_MEANS = {
    "integer": "in integers",
    "absorbed": "fused into a neighbour",
    "float16": "in float16",
    "float": "in float",
    "moves": "only moves values",
}
_KEYS = (
    "Arrow keys go from box to box along the lines, Enter shows the box, + and - zoom, 0 shows the whole graph, / "
    "searches, Escape lets go."
)


def render(report: AuditReport) -> str:
    """The page: the same text for the same report. Raises QdslError (graph-absent) without the layout library."""
    wiring = Wiring(report)
    drawing = draw(wiring)
    looks = _looks(wiring, drawing)
    name = plain(PurePath(report.file).name)
    inside = [
        tag("a", "To the graph", href="#graph", class_="skip"),
        _header(report, name),
        tag(
            "main",
            _tools(report, looks),
            tag("div", _pane(drawing, looks, report, name), _aside(wiring, drawing), class_="desk"),
            id="content",
        ),
        tag(
            "footer",
            tag("p", f"Made by qdsl {plain(report.version)} with `qdsl audit`. It loads nothing from anywhere."),
        ),
        tag("script", _data(facts(wiring, drawing)), type="application/json", id="facts"),
    ]
    style = asset("page.css") + asset("graph.css", _HERE)
    return document(f"Audit of {name}", inside, style, asset("page.js") + asset("graph.js", _HERE))


def _data(value: Any) -> Html:
    """JSON that no HTML parser takes for markup, whatever is in it."""
    told = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        told = told.replace(character, f"\\u{ord(character):04x}")
    return Html(told)


def _looks(wiring: Wiring, drawing: Drawing) -> list[svg.Look]:
    report = wiring.report
    runs = report.sections[0].runs if report.sections else {}
    shares = noise_shares(report)
    looks = []
    for box in drawing.boxes:
        verdict = runs.get(box.name) if box.kind == "node" else None
        found = [each for each in wiring.findings.get(box.node, ()) if box.kind == "node" and not each.waived]
        held = {*box.tensors, *(wiring.held.get(box.node, ()) if box.kind == "node" else ())}
        names = [report.tensors[each].tensor for each in held]
        known = (report.errors.get(name) for name in names)
        errors = [each.own_db for each in known if each is not None and each.own_db is not None]
        looks.append(
            svg.Look(
                runs="" if verdict is None else verdict.runs,
                error_db=min(errors, default=None),
                share=max((shares[name] for name in names if name in shares), default=None),
                findings=len(found),
                worst=next((level for level in LEVELS if any(each.severity is level for each in found)), None),
            )
        )
    return looks


def _header(report: AuditReport, name: str) -> Html:
    about = [plain(relative(report.file)), mebibytes(report.bytes), f"opset {report.opsets.get('', 0)}"]
    about += [f"by {plain(report.producer)}"] if report.producer else []
    about += [f"looks like {plain(', '.join(each for each, _ in report.dialects))}"] if report.dialects else []
    about += [f"held against {plain(relative(report.recipe))}"] if report.recipe else []
    return tag(
        "header",
        tag("div", tag("h1", f"Audit of {name}"), tag("p", ", ".join(about), class_="about")),
        tag("div", *(_verdict(section) for section in report.sections), class_="verdicts"),
        theme_switch(),
    )


def _verdict(section: Section) -> Html:
    standing = section.standing
    levels = [(level, sum(each.severity is level for each in standing)) for level in LEVELS]
    told = ", ".join(count(number, level.value) for level, number in levels if number) or "nothing found"
    word = next((words for (_, number), words in zip(levels, ("bad", "warn", "open"), strict=True) if number), "good")
    counts = section.counts
    share = f", {percent(counts.integer_macs, counts.macs)} of the MACs in {section.multiplied}" if counts.macs else ""
    return tag("p", tag("span", told, class_=f"chip {word}"), f" on {plain(section.target)}{share}", class_="verdict")


def _tools(report: AuditReport, looks: Sequence[svg.Look]) -> Html:
    """Search, what colours mean, the target, zoom."""
    ways = [tag("option", "by precision", value="precision")]
    if any(look.error_db is not None for look in looks):
        ways.append(tag("option", "by error", value="error"))
    if any(look.share is not None for look in looks):
        ways.append(tag("option", "by cost at the outputs", value="cost"))
    parts = [
        tag("label", "Search ", tag("input", type="search", id="search", autocomplete="off", spellcheck="false")),
        tag("output", id="hits", for_="search"),
        tag("label", "Colours ", tag("select", *ways, id="colours")) if len(ways) > 1 else NOTHING,
    ]
    if len(report.sections) > 1:
        targets = (tag("option", plain(each.target), value=str(at)) for at, each in enumerate(report.sections))
        parts.append(tag("label", "Target ", tag("select", *targets, id="target")))
    zoom = (("out", "-", "Zoom out"), ("in", "+", "Zoom in"), ("fit", "Whole", "Show the whole graph"))
    buttons = (tag("button", words, type="button", data_zoom=way, aria_label=label) for way, words, label in zoom)
    parts.append(tag("span", *buttons, class_="zoom", role="group", aria_label="Zoom"))
    return tag("div", *parts, class_="tools", role="toolbar", aria_label="The graph")


def _pane(drawing: Drawing, looks: Sequence[svg.Look], report: AuditReport, name: str) -> Html:
    label = f"The graph of {name}: {count(len(report.nodes), 'operator')}"
    return tag(
        "section",
        _left_out(drawing, report),
        tag("div", svg.graph(drawing, looks, report.tensors, label), svg.overview(drawing, looks), class_="pane"),
        tag("p", _KEYS, id="keys", class_="note"),
        _legend(looks),
        class_="drawn",
        aria_label="Graph",
    )


def _left_out(drawing: Drawing, report: AuditReport) -> Html:
    if not drawing.left_out:
        return NOTHING
    which = "those nearest to findings" if report.findings else "the first of the graph"
    return tag(
        "p",
        f"Only {len(drawing.boxes):,} boxes are drawn, {which}: {drawing.left_out:,} more would be too many for a "
        "browser. `qdsl audit --json` has all of them.",
        class_="warning",
    )


def _legend(looks: Sequence[svg.Look]) -> Html:
    counted = {kind: sum(look.runs == kind for look in looks) for kind in KINDS}
    entries = [
        tag("li", tag("span", class_=f"key r-{kind}"), _MEANS[kind], " ", tag("b", str(number), data_count=kind))
        for kind, number in counted.items()
    ]
    entries.append(tag("li", tag("span", class_="key wire"), "read through Q and DQ"))
    return join(
        (
            tag("ul", *entries, class_="legend", data_legend="precision"),
            _scale("error", "error of rounding: 40 dB and more", "0 dB and less", "h"),
            _scale("cost", "share of the noise at the outputs: none", "all of it", "k"),
        )
    )


def _scale(name: str, low: str, high: str, kind: str) -> Html:
    """The legend of ten steps."""
    steps = tag("span", *(tag("span", class_=f"key {kind}{step}") for step in range(10)), class_="steps")
    return tag("p", f"{low} ", steps, f" {high}", class_="legend", data_legend=name, hidden="")


def _aside(wiring: Wiring, drawing: Drawing) -> Html:
    empty = tag("p", "Choose a box of the graph, or a finding.", class_="note")
    return tag(
        "aside",
        tag("section", empty, id="about", aria_label="The chosen box", aria_live="polite"),
        causes(wiring, drawing),
        tag("section", *findings(wiring, drawing), id="findings", aria_label="Findings"),
    )
