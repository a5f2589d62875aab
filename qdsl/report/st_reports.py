"""What ST Edge AI Core said of an artifact: its own figures, of its own C."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.harness.st_reports import StReport
from qdsl.report import tables, words
from qdsl.report.data import Method, distinct
from qdsl.report.html import NOTHING, Html, tag
from qdsl.spec.words import count
from qdsl.stedgeai.told import FLOAT, INTEGER, MIXED, UNKNOWN, NodeTold, ScoreTold

_ABOUT = "Imported: figures of ST's tool about the C that it makes itself. They decide no budget of the C here."
_CHIPS = {INTEGER: "holds", FLOAT: "broken"}


def part(methods: Sequence[Method]) -> Html:
    """A part for each run that was taken in; nothing where there is none."""
    found = [(method, each) for method in methods for each in method.st_reports]
    several = len(methods) > 1
    titles = distinct([f"{each.name}: {method.label}" if several else each.name for method, each in found])
    shown = (_one(each, title) for (_, each), title in zip(found, titles, strict=True))
    return tag("div", *shown) if found else NOTHING


def _one(found: StReport, title: str) -> Html:
    about = tag("p", _ABOUT, class_="note")
    return tag(
        "div", tag("h3", title), about, tables.pairs(_figures(found)), _arena(found), _nodes(found), _scores(found)
    )


def _figures(found: StReport) -> list[tuple[str, str]]:
    told = found.told
    model = "the file beside the artifact, by its hash" if found.checked else "by the word of who added it"
    rows = [
        ("version", told.version),
        ("command", told.command),
        ("model", f"{told.model}: {model}" if told.model else model),
        ("quantized as", told.scheme),
        ("flash, all of it", _bytes(told.flash)),
        ("RAM, all of it", _bytes(told.ram)),
        ("weights", _bytes(told.weights)),
        ("activations", _bytes(told.activations)),
        ("inputs and outputs beside them", _bytes(_sum(told.inputs, told.outputs))),
        ("runtime, flash and RAM", " and ".join(filter(None, (_bytes(told.runtime_flash), _bytes(told.runtime_ram))))),
        ("multiplications, as ST counts them", "" if told.macc is None else f"{told.macc:,}"),
        ("computes in", _kinds(found)),
        ("time of an inference", "" if told.seconds is None else f"{words.seconds(told.seconds)}{_where(found)}"),
        ("cycles", "" if told.cycles is None else f"{told.cycles:,}"),
        *((f"power, as it tells it: {name}", f"{value:g}") for name, value in told.power.items()),
    ]
    return [row for row in rows if row[1]]


def _where(found: StReport) -> str:
    return f", {found.told.device}" if found.told.device else ""


def _bytes(value: int | None) -> str:
    return "" if value is None else f"{value:,} bytes"


def _sum(*values: int | None) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _kinds(found: StReport) -> str:
    """How many nodes of ST's C compute in what."""
    told = [(kind, found.told.counted(kind)) for kind in (INTEGER, FLOAT, MIXED, UNKNOWN)]
    return ", ".join(f"{number} of {len(found.told.nodes)} {kind}" for kind, number in told if number)


def _arena(found: StReport) -> Html:
    """Whether its plan of memory holds."""
    overlaps = found.told.overlaps
    if overlaps is None:
        return NOTHING
    if overlaps:
        head = tag("p", "Its plan of memory is not sound:", class_="warning")
        return tag("div", head, tag("ul", *(tag("li", each) for each in overlaps)))
    meant = found.told.in_place or 0
    told = f"{count(meant, 'buffer')} written over what the same node reads" if meant else "each lies alone"
    return tag("p", f"Its plan of memory was checked: no two buffers in use lie over each other ({told}).")


def _nodes(found: StReport) -> Html:
    if not found.told.nodes:
        return NOTHING
    timed = any(each.duration is not None for each in found.told.nodes)
    columns = (
        "node",
        "type",
        "computes in",
        "multiplications",
        *(("share of the time",) if timed else ()),
        "functions",
    )
    return tables.table("Nodes of ST's C", columns, [_node(each, timed=timed) for each in found.told.nodes])


def _node(each: NodeTold, *, timed: bool) -> list[Html]:
    share = each.duration
    time = tables.nothing() if share is None else tables.figure(share, f"{100 * share:.1f} %")
    return [
        tables.name(each.name),
        tables.words(each.type),
        tables.words(tables.chip(_CHIPS.get(each.runs, ""), each.runs)),
        tables.nothing() if each.macc is None else tables.figure(each.macc, f"{each.macc:,}"),
        *([time] if timed else []),
        tables.words(", ".join(each.functions)),
    ]


def _scores(found: StReport) -> Html:
    if not found.told.scores:
        return NOTHING
    samples = found.told.samples
    about = f"What its validation measured, {count(samples, 'sample')}" if samples else "What its validation measured"
    columns = ("held against each other", "accuracy", "rmse", "mae", "l2r", "cos", "tensor")
    return tables.table(about, columns, [_score(each) for each in found.told.scores])


def _score(each: ScoreTold) -> list[Html]:
    rest = (each.rmse, each.mae, each.l2r, each.cos)
    return [
        tables.name(each.label),
        tables.nothing() if each.acc is None else tables.figure(each.acc, f"{100 * each.acc:.2f} %"),
        *(tables.nothing() if value is None else tables.figure(value, f"{value:.6g}") for value in rest),
        tables.words(each.tensor),
    ]
