"""The sections of a page about several builds: which method buys what, on which model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qdsl.harness.environment import PASSING
from qdsl.harness.profiles import Profile
from qdsl.harness.results import FLOAT, Evaluation, Key
from qdsl.report import charts, emulated, speed, tables, words
from qdsl.report.accuracy import FREE, against_size, confidences, drop_axis, drop_bar, float_bar, score_bar, source
from qdsl.report.advice import what_to_do
from qdsl.report.axes import axis
from qdsl.report.charts import Bar, Words, of_style
from qdsl.report.data import (
    Build,
    Method,
    as_they_are,
    distinct,
    headline,
    model_names,
    model_of,
    scores_of,
    slowest,
)
from qdsl.report.html import Html, tag
from qdsl.report.sections import budgets, not_there
from qdsl.spec.words import times_smaller

_MEBI = 1 << 20
_NAMES = 150.0


@dataclass(frozen=True, slots=True)
class Group:
    """What can be compared: one model on one set of samples. `rows` are artifacts, each with its evaluation."""

    name: str
    rows: tuple[tuple[Method, Evaluation], ...]

    @property
    def floats(self) -> Evaluation:
        """An evaluation of the float model: it is in all of them."""
        return self.rows[0][1]


def sections(builds: Sequence[Build], methods: Sequence[Method]) -> list[tuple[str, str, Html]]:
    """(mark, title, content) of each part."""
    found = groups(builds, methods)
    return [
        ("summary", "Summary", summary(builds, methods, found)),
        ("accuracy", "Accuracy", accuracy(found)),
        ("speed", "Speed and memory", costs(builds, methods)),
        *([("core", "On an emulated core", on_core)] if (on_core := emulated.side_by_side(methods)) else []),
        ("build", "Builds", origins(builds)),
    ]


def summary(builds: Sequence[Build], methods: Sequence[Method], found: dict[tuple[str, str], list[Group]]) -> Html:
    """What makes figures say less than they seem to, the builds, and their budgets."""
    warnings = (*_warnings(builds, found), *_elsewhere(methods))
    return tag("div", what_to_do(methods), *warnings, overview(builds, methods), budgets(methods))


def groups(builds: Sequence[Build], methods: Sequence[Method]) -> dict[tuple[str, str], list[Group]]:
    """By task and data, the models that were evaluated there on as many samples, each with its artifacts."""
    names = model_names(builds)
    rows: dict[tuple[str, str], dict[tuple[object, int], list[tuple[Method, Evaluation]]]] = {}
    for method in methods:
        for evaluation in as_they_are(method.build):
            if scores_of(evaluation, method.facts.target) is not None:
                kind = rows.setdefault((evaluation.task, evaluation.data), {})
                kind.setdefault((model_of(method.build), evaluation.samples), []).append((method, evaluation))
    found: dict[tuple[str, str], list[Group]] = {}
    for key, kinds in rows.items():
        for (_, samples), members in kinds.items():
            name = f"{names[model_of(members[0][0].build)]}, {words.count(samples, 'sample')}"
            found.setdefault(key, []).append(Group(name, tuple(members)))
    return found


def _warnings(builds: Sequence[Build], found: dict[tuple[str, str], list[Group]]) -> list[Html]:
    """What makes figures that stand side by side say less than they seem to."""
    told = []
    if _machines(each.environment for build in builds for each in build.found.profiles) > 1:
        told.append("Profiles were made on different machines or with different software: times do not compare.")
    for (task, data), members in found.items():
        for group in members:
            floats = [evaluation.of(FLOAT).scores for _, evaluation in group.rows]
            if any(each != floats[0] for each in floats):
                about = f"{task} on {data}, {group.name}"
                told.append(f"The float model scores differently between builds ({about}): on other pictures?")
    return [tag("p", each, class_="warning") for each in told]


def _machines(environments: Iterable[Mapping[str, str]]) -> int:
    """How many machines, or sets of software, some profiles were made with."""
    return len({tuple(sorted(p for p in each.items() if p[0] not in PASSING)) for each in environments})


def _elsewhere(methods: Sequence[Method]) -> list[Html]:
    """The same for what devices measured: one may have changed, and builds may have been measured on other ones."""
    names = _device_names(methods)
    told = []
    for name in names:
        there = [device.environment for method in methods for device in method.devices if device.name == name]
        if _machines(there) > 1:
            told.append(f"Profiles on {name} were made with different software: times do not compare.")
    if any({device.name for device in method.devices} != set(names) for method in methods):
        told.append("Not all builds were measured on the same devices: times on different devices do not compare.")
    return [tag("p", each, class_="warning") for each in told]


def _device_names(methods: Sequence[Method]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(device.name for method in methods for device in method.devices))


def overview(builds: Sequence[Build], methods: Sequence[Method]) -> Html:
    """One row per artifact."""
    names = model_names(builds)
    columns = ("build", "model", "target", "mode", "size", "smaller", "figure", "value", "drop from float")
    more = ("latency, median", "speed-up", "memory, most", "in integers")
    devices = _device_names(methods)
    there = (column for name in devices for column in (f"latency on {name}", "speed-up there"))
    rows = [_overview(method, names[model_of(method.build)], devices) for method in methods]
    return tables.table("Builds", (*columns, *more, *there), rows, "builds")


def _overview(method: Method, model: str, devices: Sequence[str]) -> list[Html]:
    facts, whole = method.facts, method.build.found.model
    share = facts.integer_macs / whole.macs if whole.macs and not whole.uncounted else None
    return [
        tables.name(method.label),
        tables.words(model),
        tables.words(facts.target),
        tables.words(facts.mode),
        tables.figure(facts.bytes, words.size(facts.bytes)),
        tables.figure(whole.bytes / max(1, facts.bytes), times_smaller(whole.bytes, facts.bytes)),
        *_scored(method),
        *_timed(method),
        tables.figure(share, words.share(share)),
        *(cell for name in devices for cell in _there(method, name)),
    ]


def _scored(method: Method) -> list[Html]:
    for evaluation in as_they_are(method.build):
        key, found = headline(evaluation, method.facts), scores_of(evaluation, method.facts.target)
        if key is not None and found is not None:
            value, drop = found.scores.get(key), found.drops.get(key)
            named = tables.words(f"{key}, {evaluation.data}")
            told = tables.figure(None if drop is None else drop.value, words.drop(drop))
            return [named, tables.figure(value, words.score(key, value)), told]
    return [tables.words(words.NOT_MEASURED, class_="missing"), tables.figure(None, ""), tables.figure(None, "")]


def _timed(method: Method) -> list[Html]:
    found = method.profile
    held = None if found is None else found.of(found.target).peak_memory
    return [*_speed(found), tables.figure(held, words.size(held))]


def _there(method: Method, name: str) -> list[Html]:
    """The same on a device by its name: where it measured more than once, the slowest."""
    found = [device.profile for device in method.devices if device.name == name]
    return _speed(slowest(found) if found else None)


def _speed(found: Profile | None) -> list[Html]:
    """Median latency and speed-up."""
    if found is None:
        return [tables.figure(None, "")] * 2
    after, before = found.of(found.target).latency(), found.of(FLOAT).latency()
    speed_up = before / after if after > 0 else None
    return [tables.figure(after, words.seconds(after)), tables.figure(speed_up, f"{speed_up or 0:.2f}x")]


def accuracy(found: dict[tuple[str, str], list[Group]]) -> Html:
    """For each task and data: each figure as bars over models and methods, the drops, and what size buys."""
    if not found:
        return not_there("evaluate")
    parts = []
    for (task, data), members in found.items():
        drawn = [_figure(key, members) for key in _keys(members) if key.metric not in FREE]
        for key in _headlines(members):
            drawn += [*_drops(key, members), _sizes(key, members)]
        drawn += [
            confidences(f"Confidence, {group.name}", group.floats, group.rows)
            for group in members
            if group.floats.of(FLOAT).confidences
        ]
        parts += [tag("h3", f"{task} on {data}"), tag("div", *drawn, class_="figures")]
    return tag("div", *parts)


def _keys(members: Sequence[Group]) -> list[Key]:
    """The figures that any of the recipes names."""
    named = (key for group in members for _, evaluation in group.rows for key in evaluation.asked)
    return [key for key in dict.fromkeys(named) if any(key in group.floats.of(FLOAT).scores for group in members)]


def _headlines(members: Sequence[Group]) -> list[Key]:
    found = (headline(evaluation, method.facts) for group in members for method, evaluation in group.rows)
    return list(dict.fromkeys(key for key in found if key is not None))


def _figure(key: Key, members: Sequence[Group]) -> Html:
    """One figure: a group of bars per model, a bar per method."""
    rows: list[Bar] = []
    for group in members:
        rows.append(float_bar(group.floats, key, group.name))
        rows += [score_bar(evaluation, method, key, group.name) for method, evaluation in group.rows]
    label = "; ".join(f"{row.name} of {row.group}: {row.words}" for row in rows[:16])
    caption = f"{source(members[0].floats)} Whiskers: 95 % interval of the paired difference from float."
    return charts.bars(Words(str(key), label, caption), axis("", (0.0, 1.0)), rows, names=_NAMES)


def _drops(key: Key, members: Sequence[Group]) -> list[Html]:
    """What each method cost; no chart where no drop was measured."""
    rows: list[Bar] = []
    for group in members:
        for method, evaluation in group.rows:
            scores = scores_of(evaluation, method.facts.target)
            found = scores.drops.get(key) if scores is not None else None
            if found is not None and math.isfinite(found.value):
                rows.append(drop_bar(evaluation, method, key, found, method.label))
    label = "; ".join(f"{row.name}: {row.words}" for row in rows[:16])
    about = "Right of zero: worse than float. Lines: paired bootstrap 95 % intervals. Across: the budget."
    told = Words(f"Drop of {key}", label, f"{source(members[0].floats)} {about}")
    return [charts.bars(told, drop_axis(rows), rows, dots=True)] if rows else []


def _sizes(key: Key, members: Sequence[Group]) -> Html:
    """Accuracy against size, models and methods in one chart."""
    known = [group for group in members if key in group.floats.of(FLOAT).scores]
    named = {
        FLOAT if len(members) == 1 else f"{FLOAT} {group.name.partition(',')[0]}": group.rows[0] for group in known
    }
    return against_size(key, named, [row for group in known for row in group.rows])


def costs(builds: Sequence[Build], methods: Sequence[Method]) -> Html:
    """Latency and memory as bars over models and methods, then the figures."""
    timed = [(method, method.profile) for method in methods]
    known = [(method, found) for method, found in timed if found is not None]
    rows = [row for method in methods for row in method.called()]
    if not rows:
        return tag("div", not_there("profile"), *_costs_there(methods))
    names = model_names(builds)
    models: dict[tuple[str, ...], list[tuple[Method, Profile]]] = {model_of(method.build): [] for method, _ in known}
    for method, found in known:
        models[model_of(method.build)].append((method, found))
    drawn = [_latencies(each, names[model]) for model, each in models.items()]
    drawn += [_memories(known, names)] if known else []
    missing = [method.label for method, found in timed if found is None]
    told = [tag("p", f"{name}: {words.NOT_MEASURED}", class_="missing") for name in missing]
    return tag("div", tag("div", *drawn, class_="figures"), *told, speed.costs(rows), *_costs_there(methods))


def _costs_there(methods: Sequence[Method]) -> list[Html]:
    """What devices measured, as a table."""
    found = [(method, device) for method in methods for device in method.devices]
    labels = distinct([f"{method.label} on {device.name}" for method, device in found])
    rows = [(label, device.profile) for label, (_, device) in zip(labels, found, strict=True)]
    return [speed.costs(rows, "Costs per run on devices")] if rows else []


_Known = Sequence[tuple[Method, Profile]]
_Names = Mapping[tuple[str, ...], str]


def _latencies(known: _Known, model: str) -> Html:
    """Median latencies of the builds of one model, each with the float model's in the same turns: a machine drifts."""
    rows = []
    for method, found in known:
        for name, style, build in _pair(method):
            cost = found.of(build)
            ends = (1e3 * cost.percentile(0.05), 1e3 * cost.latency("p95"))
            rows.append(Bar(name, 1e3 * cost.latency(), words.seconds(cost.latency()), of_style(style), *ends))
    x = axis("latency in ms", (end for row in rows for end in (row.value, row.high) if end is not None), zero=True)
    label = "; ".join(f"{row.name}: {row.words}" for row in rows[:16])
    told = Words(f"Latency, {model}", label, "Medians; whiskers: from the 5th to the 95th percentile of the runs.")
    return charts.bars(told, x, rows, names=_NAMES)


def _pair(method: Method) -> tuple[tuple[str, int, str], ...]:
    """(name, style, build) of the float model and of the artifact in one profile."""
    return (f"{FLOAT}, same turns", 0, FLOAT), (method.label, method.style, method.facts.target)


def _memories(known: _Known, names: _Names) -> Html:
    """The most that each process held."""
    rows = []
    for method, found in known:
        group = names[model_of(method.build)]
        for name, style, build in (
            (f"{FLOAT}, same turns", 0, FLOAT),
            (method.label, method.style, method.facts.target),
        ):
            held = found.of(build).peak_memory
            value = None if held is None else held / _MEBI
            rows.append(Bar(name, value, words.size(held), of_style(style), group=group))
    x = axis("memory in MiB", (row.value for row in rows if row.value is not None), zero=True)
    label = "; ".join(f"{row.name}: {row.words}" for row in rows[:16])
    told = Words("Memory, most", label, "The whole process, Python and the runtime included.")
    return charts.bars(told, x, rows, names=_NAMES)


def origins(builds: Sequence[Build]) -> Html:
    """What each was made from, and where it was measured; what differs between builds stands out."""
    facts = [_facts(build) for build in builds]
    keys = dict.fromkeys(key for each in facts for key in each)
    rows = []
    for key in keys:
        values = [each.get(key, "") for each in facts]
        style = "differs" if len(set(values)) > 1 and key not in ("recipe", "lock") else None
        rows.append([tables.name(key), *(tables.words(value, class_=style) for value in values)])
    return tables.table("What the builds were made from", ("", *(each["recipe"] for each in facts)), rows)


def _facts(build: Build) -> dict[str, str]:
    found = build.found
    facts = {
        "recipe": found.recipe,
        "model": found.model.name,
        "model SHA-256": ", ".join(found.model.files.values()),
        "lock": "none" if found.lock is None else f"{found.lock.name} {found.lock.sha256[:12]}",
    }
    facts |= {f"evaluated: {name}": value for name, value in found.environment.items()}
    for profile in found.profiles[:1]:
        facts |= {f"profiled: {name}": value for name, value in profile.environment.items()}
    return facts
