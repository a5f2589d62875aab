"""The list of findings beside the drawing: by rule, each with a way to its box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdsl.auditing.formats.drawing import Drawing
from qdsl.auditing.formats.told import Told, cures, relative, told, where
from qdsl.auditing.formats.wiring import Wiring
from qdsl.diag import Severity
from qdsl.report.html import NOTHING, Html, tag
from qdsl.spec.words import count, plain

MOST = 2000  # findings that are listed
_OPEN = 8  # findings of a rule that are not folded away
_WORDS = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.NOTE: "open"}


def findings(wiring: Wiring, drawing: Drawing) -> Iterator[Html]:
    """All of them, the waived ones last; of very many the first."""
    every = sorted(told(wiring.report), key=lambda each: bool(each.found.waived))
    yield tag("h2", count(len(every), "finding") if every else "No findings")
    groups: dict[tuple[bool, str, Severity], list[Told]] = {}
    for each in every[:MOST]:
        groups.setdefault((bool(each.found.waived), each.found.rule, each.found.severity), []).append(each)
    for (waived, rule, severity), held in groups.items():
        yield _group(wiring, drawing, rule, severity, held, waived=waived)
    if len(every) > MOST:
        yield tag("p", f"and {len(every) - MOST:,} more: `qdsl audit --json` has all of them", class_="note")


def _group(
    wiring: Wiring, drawing: Drawing, rule: str, severity: Severity, held: Sequence[Told], *, waived: bool
) -> Html:
    level = "waived" if waived else severity.value
    summary = wiring.report.explanations.get(rule, "")
    return tag(
        "details",
        tag(
            "summary",
            tag("span", level, class_=f"level {'open' if waived else _WORDS[severity]}"),
            tag("code", plain(rule)),
            tag("span", str(len(held)), class_="many") if len(held) > 1 else NOTHING,
        ),
        tag("p", summary, class_="note") if summary else NOTHING,
        tag("ul", *(_item(wiring, drawing, each, several=len(wiring.report.sections) > 1) for each in held)),
        open="" if len(held) <= _OPEN and not waived else None,
        class_="rule",
    )


def _item(wiring: Wiring, drawing: Drawing, each: Told, *, several: bool) -> Html:
    found = each.found
    boxes = [drawing.of_node[node] for node in wiring.spoken_of(found) if node in drawing.of_node]
    words = where(found.place).replace("`", "")
    place = tag("button", words, type="button", class_="go") if boxes else tag("b", words)
    more = [tag("p", plain(found.why), class_="note")] if found.why else []
    more += [tag("p", cure, class_="cure") for cure in cures(found)]
    if found.line is not None:
        more.append(tag("p", f"{plain(relative(found.line.file))}, line {found.line.line}", class_="note"))
    elif found.origin:
        more.append(tag("p", plain(found.origin), class_="note"))
    if found.waived:
        more.append(tag("p", f"Allowed: {plain(found.waived)}", class_="note"))
    if several:
        more.append(tag("p", f"on {', '.join(map(plain, each.targets))}", class_="note"))
    return tag("li", place, tag("p", plain(found.message)), *more, data_boxes=" ".join(map(str, boxes)))
