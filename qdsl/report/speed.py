"""Latency, throughput, processor time and memory of the float model and of each artifact, over the runs."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.harness.profiles import BuildProfile, Profile
from qdsl.harness.results import FLOAT
from qdsl.report import charts, tables, words
from qdsl.report.axes import axis
from qdsl.report.charts import Bar, Series, Words, of_style
from qdsl.report.data import Method
from qdsl.report.html import Html, tag

_MEBI = 1 << 20
_FORMS = ("p50", "p90", "p99", "max", "mean")
_SHOWN = ("p50", "p90", "p99")
_NAMES = 132.0  # width for names beside bars


def part(methods: Sequence[Method]) -> Html:
    """Charts and a table for each artifact that was profiled."""
    parts: list[Html] = []
    for method in methods:
        parts += [tag("h3", method.label)] if len(methods) > 1 else []
        if not method.profiles:
            parts.append(tag("p", "Not measured: no `profile` was carried out.", class_="missing"))
            parts += _widths(method)
            continue
        parts += _widths(method)
        parts += [drawings(method, found) for found in method.profiles]
        parts.append(costs(method.called()))
    return tag("div", *parts)


def _widths(method: Method) -> list[Html]:
    """That time and memory are not those of the widths that were asked for."""
    told = method.facts.widths
    said = f"{', '.join(told)}: time and memory are those of the wider type."
    return [tag("p", said, class_="warning")] if told else []


def drawings(method: Method, found: Profile) -> Html:
    """All that a profile has to show."""
    drawn = [latency(method, found), distribution(method, found), percentiles(method, found)]
    drawn += [memory(method, found)] if all(build.memory_runs for build in found.builds) else []
    return tag("div", *drawn, class_="figures")


def _named(method: Method, found: Profile) -> list[tuple[str, int, BuildProfile]]:
    return [(FLOAT, 0, found.of(FLOAT)), (method.label, method.style, found.of(method.facts.target))]


def _source(found: Profile) -> str:
    threads = "threads auto" if not found.threads else words.count(found.threads, "thread")
    runs = words.count(found.runs, "run")
    aside = f" {found.aside[0].upper()}{found.aside[1:]}." if found.aside else ""
    return f"Measured on {found.measured_on}: {runs} each, in turns, batch {found.batch}, {threads}.{aside}"


def latency(method: Method, found: Profile) -> Html:
    """Each run in the order in which it was made: where the machine drifted or stuttered, it shows."""
    rows = _named(method, found)
    series = [
        Series(name, style, tuple((float(at + 1), 1e3 * value) for at, value in enumerate(build.seconds)))
        for name, style, build in rows
    ]
    x = axis("run", (1.0, float(found.runs)), zero=True)
    y = axis("latency in ms", (point[1] for each in series for point in each.points), zero=True)
    medians = ", ".join(f"{name} {words.seconds(build.latency())}" for name, _, build in rows)
    told = Words("Latency over the runs", f"Latency of each run. Medians: {medians}.", _source(found))
    return charts.lines(told, x, y, series, dots=True)


def distribution(method: Method, found: Profile) -> Html:
    """The share of runs that took no longer than a time."""
    series = []
    for name, style, build in _named(method, found):
        rising = sorted(build.seconds)
        shares = [(1e3 * value, 100 * (at + 1) / len(rising)) for at, value in enumerate(rising)]
        series.append(Series(name, style, ((shares[0][0], 0.0), *shares)))
    x = axis("latency in ms", (point[0] for each in series for point in each.points))
    y = axis("share of runs in %", (0.0, 100.0))
    label = "Share of the runs that took no longer than a time, as steps."
    return charts.lines(Words("How often is it how fast", label, _source(found)), x, y, series, steps=True)


def percentiles(method: Method, found: Profile) -> Html:
    """Usual and unusual runs: bars for the percentiles of the latency."""
    rows = [
        Bar(name, 1e3 * build.latency(form), words.seconds(build.latency(form)), of_style(style), group=form)
        for form in _SHOWN
        for name, style, build in _named(method, found)
    ]
    x = axis("latency in ms", (row.value for row in rows if row.value is not None), zero=True)
    label = "; ".join(f"{row.group} of {row.name}: {row.words}" for row in rows)
    return charts.bars(Words("Percentiles of the latency", label, _source(found)), x, rows, names=_NAMES)


def memory(method: Method, found: Profile) -> Html:
    """What the process held, from loading to the last run."""
    series = [
        Series(name, style, tuple((float(done), held / _MEBI) for done, held in build.memory_runs))
        for name, style, build in _named(method, found)
    ]
    x = axis("runs done", (point[0] for each in series for point in each.points), zero=True)
    y = axis("memory in MiB", (point[1] for each in series for point in each.points), zero=True)
    label = "Memory that each process held, from loading the model to the last run."
    caption = f"The whole process, Python and the runtime included. {_source(found)}"
    return charts.lines(Words("Memory over the runs", label, caption), x, y, series, steps=True, dots=True)


def costs(found: Sequence[tuple[str, Profile]], caption: str = "Costs per run") -> Html:
    """The figures of each model in a table: those of the float model once per profile."""
    rows = []
    for label, profile in found:
        for build in profile.builds:
            name = label if build.build != FLOAT else (FLOAT if len(found) == 1 else f"{FLOAT} beside {label}")
            rows.append(_costs(name, profile, build))
    columns = ["model", *_FORMS, "speed-up", "per second", "cpu", "memory", "energy"]
    return tables.table(caption, columns, rows)


def _costs(name: str, profile: Profile, build: BuildProfile) -> list[Html]:
    base = profile.of(FLOAT).latency()
    speed = base / build.latency() if build.latency() > 0 else None
    rate = profile.throughput(build.build)
    energy = build.energy
    return [
        tables.name(name),
        *(tables.figure(build.latency(form), words.seconds(build.latency(form))) for form in _FORMS),
        tables.figure(speed, f"{speed or 0:.2f}x"),
        tables.figure(rate, f"{rate:.1f}"),
        tables.figure(build.cpu, f"{100 * build.cpu:.0f} %"),
        tables.figure(build.peak_memory, words.size(build.peak_memory)),
        tables.figure(energy, f"{energy or 0:.3g} J"),
    ]
