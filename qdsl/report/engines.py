"""Engines that were built elsewhere: what became of each planned node, and how long their runs take."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.harness.engines import Computes, Engine, counts
from qdsl.harness.profiles import FORMS
from qdsl.report import tables, words
from qdsl.report.data import Method, distinct
from qdsl.report.html import NOTHING, Html, tag

_MOST_TOLD = 8


def part(methods: Sequence[Method]) -> Html:
    """A part for each engine; nothing where there is none."""
    found = [(method, engine) for method in methods for engine in method.engines]
    several = len(methods) > 1
    titles = distinct([f"{method.label} on {engine.name}" if several else engine.name for method, engine in found])
    shown = (_engine(engine, title) for (_, engine), title in zip(found, titles, strict=True))
    return tag("div", *shown) if found else NOTHING


def _engine(found: Engine, title: str) -> Html:
    rows = [
        ("GPU", found.gpu or found.device),
        ("compute capability", found.capability),
        ("TensorRT", found.tensorrt),
        ("driver", found.driver),
        ("model", "the same file, by its hash" if found.checked else "not told: by the word of who added it"),
    ]
    computes = NOTHING if found.computes is None else _computes(found.computes)
    return tag("div", tag("h3", title), tables.pairs([row for row in rows if row[1]]), computes, _times(found))


def _computes(found: Computes) -> Html:
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts(found.nodes)) or "none was planned"
    parts = [tag("p", f"Planned nodes: {told}.", class_="lead")]
    for names, what in (
        (found.standalone, "Q/DQ that run as layers of their own"),
        (found.reformats, "reformats that change a type"),
    ):
        parts += [tag("p", f"{len(names)} {what}: {_listed(names)}")] if names else []
    parts += [tag("p", f"These take {100 * found.aside:.1f} % of the time.")] if found.aside else []
    parts += [tag("p", f"Note: {note}", class_="note") for note in found.notes]
    return tag("div", *parts, _nodes(found))


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(names[:_MOST_TOLD]) + more


def _nodes(found: Computes) -> Html:
    rows = []
    for each in found.nodes:
        because = f"{each.because}; waived: {each.waived}" if each.waived else each.because
        rows.append(
            [
                tables.name(each.node),
                tables.words(each.expect),
                tables.words(tables.chip("holds" if each.passes else "broken" if each.lost else "", each.verdict)),
                tables.nothing() if each.share is None else tables.figure(each.share, f"{100 * each.share:.1f} %"),
                tables.words(because),
            ]
        )
    columns = ("node", "planned in", "in the engine", "share of the time", "why")
    return tables.table("What the engine computes in", columns, rows) if rows else NOTHING


def _times(found: Engine) -> Html:
    """Latencies of its runs; too few of them say nothing."""
    if not found.seconds:
        return NOTHING
    copies = "with" if found.copies else "without"
    runs = f"{words.count(len(found.seconds), 'run')}, {copies} copies of inputs and outputs"
    timed = found.timed
    if timed is None:
        return tag("p", f"{runs}: too few to say how long one takes.", class_="missing")
    rows = [
        [tables.name(form), tables.figure(timed.latency(form), words.seconds(timed.latency(form)))] for form in FORMS
    ]
    return tables.table(f"Latency there, {runs}", ("of a run", "latency"), rows)
