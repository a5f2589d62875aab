"""What devices measured: the machine, figures beside those of here, and whether it answers as it should."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qdsl.harness.checks import Agreement, emulated_words
from qdsl.harness.devices import Device
from qdsl.harness.results import FLOAT, BuildScores, Evaluation, Key
from qdsl.report import speed, tables, words
from qdsl.report.data import Method, as_they_are, distinct, scores_of
from qdsl.report.html import NOTHING, Html, tag


def part(methods: Sequence[Method]) -> Html:
    """A part for each device that measured an artifact; nothing where none did."""
    found = [(method, device) for method in methods for device in method.devices]
    several = len(methods) > 1
    titles = distinct([f"{method.label} on {device.name}" if several else device.name for method, device in found])
    shown = (_measured(method, device, title) for (method, device), title in zip(found, titles, strict=True))
    return tag("div", *shown) if found else NOTHING


def _measured(method: Method, found: Device, title: str) -> Html:
    return tag(
        "div",
        tag("h3", title),
        tables.pairs(list(found.environment.items())),
        *_warnings(found),
        _speed(method, found, title),
        _scores(method, found),
        _arithmetic(method, found),
        _agreement(method, found),
        _kept(found),
        tables.kernels(found.kernels),
        _operators(method, found),
    )


def _warnings(found: Device) -> list[Html]:
    """What the device does otherwise than was planned: kernels differ between processors."""
    told = []
    other = [name for name, predicted, real in found.kernels if predicted != real]
    if other:
        told.append(f"NOT as predicted on this device: how many nodes run as {', '.join(other)}.")
    if found.emulated:
        kind = emulated_words(found.environment).capitalize()
        told.append(f"{kind}: what is computed is what this processor computes; what it took says nothing.")
    return [tag("p", each, class_="warning") for each in told]


def _speed(method: Method, found: Device, title: str) -> Html:
    """What runs cost there, beside those of here; nothing of an emulated device, which has no speed of its own."""
    if found.emulated:
        return NOTHING
    rows = [(f"{method.label}, there", found.profile), *method.called(", here")]
    return tag("div", speed.drawings(method, found.profile), speed.costs(rows, f"Costs per run, {title}"))


def _names(method: Method, found: Device) -> list[tuple[str, str]]:
    """(build, what the page calls it)"""
    return [(FLOAT, FLOAT), (found.target, method.label)]


def _scores(method: Method, found: Device) -> Html:
    """What both models scored there, beside what they scored here on more samples."""
    if found.scores is None:
        return NOTHING
    here = next(iter(as_they_are(method.build)), None)
    names = _names(method, found)
    columns = ["figure", *(f"{name}, there" for _, name in names), *(f"{name}, here" for _, name in names)]
    rows = []
    for figure in dict.fromkeys(name for build, _ in names for name in found.scores[build]):
        key = Key(figure)
        there = [found.scores[build].get(figure) for build, _ in names]
        values = [*there, *(_score_here(here, build, key) for build, _ in names)]
        rows.append([tables.name(figure), *(tables.figure(value, words.score(key, value)) for value in values)])
    counts = f"{words.count(found.samples, 'sample')} there"
    counts += f", {words.count(here.samples, 'sample')} of {here.data} here" if here is not None else ""
    return tables.table(f"Scores: {counts}", columns, rows)


def _score_here(evaluation: Evaluation | None, build: str, key: Key) -> float | None:
    scores: BuildScores | None = None if evaluation is None else scores_of(evaluation, build)
    return None if scores is None else scores.scores.get(key)


def _arithmetic(method: Method, found: Device) -> Html:
    """Outputs of the artifact as it runs there against the same file without the runtime's optimizations there."""
    if found.arithmetic is None:
        return NOTHING
    title = f"As it runs there against its own arithmetic there, {words.count(found.arithmetic.samples, 'sample')}"
    return _compared(title, method, found, found.arithmetic.outputs)


def _agreement(method: Method, found: Device) -> Html:
    """Outputs there against the goldens of the bundle: the graph's own arithmetic, and the float model as it ran on the
    machine that compiled."""
    ours = [each for each in found.agreement if each.build != FLOAT]
    floats = [each for each in found.agreement if each.build == FLOAT]
    arithmetic = _compared("Outputs against the graph's own arithmetic", method, found, ours)
    return tag("div", arithmetic, _compared("Outputs against the machine that compiled", method, found, floats))


def _kept(found: Device) -> Html:
    """What of the float model the artifact keeps there, beside what was planned."""
    rows = []
    for each in found.fidelity:
        pair = [math.inf if value is None else value for value in (each.planned_db, each.here_db)]
        rows.append([tables.name(each.output), *(tables.figure(value, words.decibels(value)) for value in pair)])
    columns = ("output", "as planned", "as computed there")
    return tables.table("Signal to noise against the float model", columns, rows) if rows else NOTHING


def _compared(title: str, method: Method, found: Device, outputs: Sequence[Agreement]) -> Html:
    names = dict(_names(method, found))
    rows = []
    for each in outputs:
        ratio = float("inf") if each.sqnr_db is None else each.sqnr_db
        rows.append(
            [
                tables.name(each.output),
                tables.words(names[each.build]),
                tables.figure(ratio, words.decibels(ratio)),
                tables.figure(each.max_error, f"{each.max_error:.3g}"),
            ]
        )
    columns = ("output", "model", "signal to noise", "largest difference")
    return tables.table(title, columns, rows) if rows else NOTHING


def _operators(method: Method, found: Device) -> Html:
    """The nodes of the graphs that really ran."""
    names = _names(method, found)
    rows = []
    for operator in sorted({name for counts in found.operators.values() for name in counts}):
        counts = [found.operators[build].get(operator, 0) for build, _ in names]
        rows.append([tables.name(operator), *(tables.figure(count, str(count)) for count in counts)])
    columns = ("operator", *(name for _, name in names))
    return tables.table("Operators that really ran", columns, rows) if rows else NOTHING
