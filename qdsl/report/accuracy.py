"""How good the answers are: the float model and each artifact on the same samples, with paired intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from qdsl.harness.results import FLOAT, Drop, Evaluation, Key
from qdsl.report import charts, tables, words
from qdsl.report.axes import Axis, axis
from qdsl.report.charts import Bar, Series, Spot, Words, of_style
from qdsl.report.data import Build, Method, as_they_are, bounds_of, headline, key_of, scores_of
from qdsl.report.html import Html, tag

_MEBI = 1 << 20
_NAMES = 132.0  # width for names beside bars
_CLASSES = 24  # more than these and a confusion matrix is no picture any more
_PAIRS = 20
FREE = ("sqnr", "mse", "max_error")  # metrics that are no fractions


def part(build: Build, methods: Sequence[Method]) -> Html:
    """Every evaluation on pictures as they are, then those on changed ones."""
    if not build.found.evaluations:
        return tag("p", "Not measured: no `evaluate` was carried out.", class_="missing")
    parts: list[Html] = []
    for evaluation in as_they_are(build):
        present = [method for method in methods if scores_of(evaluation, method.facts.target) is not None]
        title = f"{evaluation.task} on {evaluation.data}, {words.count(evaluation.samples, 'sample')}"
        parts += [tag("h3", title), tag("div", *_charts(evaluation, present), class_="figures")]
        parts += [*_confusions(evaluation, present), scores_table(evaluation, present)]
    return tag("div", *parts, *_changed(build, methods))


def _charts(evaluation: Evaluation, methods: Sequence[Method]) -> list[Html]:
    keys = _asked(evaluation)
    drawn = [scores(evaluation, methods)] if any(key.metric not in FREE for key in keys) else []
    drawn += [drops(evaluation, methods)] if any(_drop(evaluation, m, key) for m in methods for key in keys) else []
    rows = [(method, evaluation) for method in methods]
    drawn += [confidences("Confidence", evaluation, rows)] if evaluation.of(FLOAT).confidences else []
    key = headline(evaluation, methods[0].facts) if methods else None
    drawn += [against_size(key, {FLOAT: rows[0]}, rows)] if key is not None else []
    return drawn


def _asked(evaluation: Evaluation) -> list[Key]:
    """The figures that the recipe names, as far as they were found."""
    return [key for key in evaluation.asked if key in evaluation.of(FLOAT).scores]


def _drop(evaluation: Evaluation, method: Method, key: Key) -> Drop | None:
    found = scores_of(evaluation, method.facts.target)
    return found.drops.get(key) if found is not None else None


def source(evaluation: Evaluation) -> str:
    """Where the figures come from."""
    changed = f", pictures changed: {evaluation.condition}" if evaluation.condition else ""
    told = "; ".join(evaluation.stand_ins)
    count = words.count(evaluation.samples, "sample")
    return f"Measured on {count} of {evaluation.data}{changed}.{f' Answered for {told}.' if told else ''}"


def interval_of(evaluation: Evaluation, method: Method, key: Key) -> tuple[float | None, float | None]:
    """The interval around a build's figure that follows from the paired one of its drop, (None, None) for none."""
    found = _drop(evaluation, method, key)
    if found is None or math.isnan(found.low) or math.isnan(found.high):
        return None, None
    base = evaluation.of(FLOAT).scores.get(key)
    return (None, None) if base is None else (base - found.high, base - found.low)


def scores(evaluation: Evaluation, methods: Sequence[Method]) -> Html:
    """Bars in groups: for each figure the float model's and each artifact's."""
    rows: list[Bar] = []
    for key in (key for key in _asked(evaluation) if key.metric not in FREE):
        rows.append(float_bar(evaluation, key, str(key)))
        rows += [score_bar(evaluation, method, key, str(key)) for method in methods]
    label = "; ".join(f"{row.group} of {row.name}: {row.words}" for row in rows[:12])
    caption = f"{source(evaluation)} Whiskers: 95 % interval of the paired difference from float."
    x = axis("", (0.0, 1.0))
    return charts.bars(Words("Figures", label, caption), x, rows, names=_NAMES)


def float_bar(evaluation: Evaluation, key: Key, group: str) -> Bar:
    """The float model's figure as a bar."""
    base = evaluation.of(FLOAT).scores.get(key)
    known = base if base is not None and math.isfinite(base) else None
    return Bar(FLOAT, known, words.score(key, base), of_style(0), group=group)


def score_bar(evaluation: Evaluation, method: Method, key: Key, group: str) -> Bar:
    """One artifact's figure as a bar."""
    found = scores_of(evaluation, method.facts.target)
    value = found.scores.get(key) if found is not None else None
    known = value if value is not None and math.isfinite(value) else None
    low, high = interval_of(evaluation, method, key)
    return Bar(method.label, known, words.score(key, value), of_style(method.style), low, high, group=group)


def drops(evaluation: Evaluation, methods: Sequence[Method]) -> Html:
    """What quantization cost, figure by figure, with its interval and the budget."""
    rows = []
    for key in _asked(evaluation):
        for method in methods:
            found = _drop(evaluation, method, key)
            if found is not None and math.isfinite(found.value):
                name = str(key) if len(methods) == 1 else f"{key}, {method.label}"
                rows.append(drop_bar(evaluation, method, key, found, name))
    label = "; ".join(f"{row.name}: {row.words}" for row in rows[:12])
    about = "Right of zero: worse than float. Lines: paired bootstrap 95 % intervals. Across: the budget."
    caption = f"{source(evaluation)} {about}"
    return charts.bars(Words("Drop from the float model", label, caption), drop_axis(rows), rows, dots=True)


def drop_bar(evaluation: Evaluation, method: Method, key: Key, found: Drop, name: str) -> Bar:
    """One drop in percentage points, with the bound that a budget sets for it."""
    own = (b for b in bounds_of(evaluation, method.facts) if b.unit == "pp" and key_of(b) == key)
    bounds = (b.bound for b in own if b.form == "drop" and b.comparison in ("<", "<="))
    bound = next((100 * bound for bound in bounds if bound is not None), None)
    low, high = 100 * found.low, 100 * found.high
    return Bar(name, 100 * found.value, words.drop(found), of_style(method.style), low, high, bound)


def drop_axis(rows: Sequence[Bar]) -> Axis:
    """An axis over drops, their intervals and bounds."""
    values = [value for row in rows for value in (row.value, row.low, row.high, row.bound) if value is not None]
    return axis("less than float, in percentage points", values, zero=True)


Rows = Sequence[tuple[Method, Evaluation]]


def confidences(title: str, floats: Evaluation, rows: Rows) -> Html:
    """The share of answers that are no more confident than a value."""
    named = [(FLOAT, 0, floats.of(FLOAT).confidences)]
    for method, evaluation in rows:
        found = scores_of(evaluation, method.facts.target)
        named += [(method.label, method.style, found.confidences)] if found is not None and found.confidences else []
    series = []
    for name, style, rising in named:
        shares = ((value, 100 * (at + 1) / len(rising)) for at, value in enumerate(rising))
        series.append(Series(name, style, ((rising[0], 0.0), *shares)))
    x = axis("confidence", (point[0] for each in series for point in each.points))
    y = axis("share of answers in %", (0.0, 100.0))
    medians = ", ".join(f"{name} {rising[len(rising) // 2]:.3f}" for name, _, rising in named)
    label = f"Distribution of the confidences of the answers, as steps. Medians: {medians}."
    caption = f"{source(floats)} Steps to the left of float's: less sure of itself. From up to 201 quantiles."
    return charts.lines(Words(title, label, caption), x, y, series, steps=True)


def against_size(key: Key, floats: Mapping[str, tuple[Method, Evaluation]], rows: Rows) -> Html:
    """What a mebibyte buys: each model by its size and its figure. `floats` are the float models by name, each with an
    evaluation that it is in."""
    spots = [
        spot for name, (method, evaluation) in floats.items() for spot in _float_spot(name, method, evaluation, key)
    ]
    spots += [spot for method, evaluation in rows for spot in _spot(method, evaluation, key)]
    ends = [end for spot in spots for end in (spot.y, spot.low, spot.high) if end is not None]
    title = f"{key} in dB" if key.metric == "sqnr" else str(key)
    label = f"{key} against size: " + "; ".join(spot.tip for spot in spots)
    caption = f"{source(rows[0][1])} Up and to the left is better."
    unit, factor = ("KiB", 1 << 10) if max((spot.x for spot in spots), default=0.0) < _MEBI else ("MiB", _MEBI)
    spots = [replace(spot, x=spot.x / factor) for spot in spots]
    x = axis(f"size in {unit}", (spot.x for spot in spots), zero=True)
    return charts.scatter(Words("Accuracy against size", label, caption), x, axis(title, ends), spots)


def _float_spot(name: str, method: Method, evaluation: Evaluation, key: Key) -> list[Spot]:
    size, value = method.build.found.model.bytes, evaluation.of(FLOAT).scores.get(key, math.nan)
    tip = f"{name}: {words.size(size)}, {words.score(key, value)}"
    return [Spot(name, 0, size, value, tip)] if math.isfinite(value) else []


def _spot(method: Method, evaluation: Evaluation, key: Key) -> list[Spot]:
    found, size = scores_of(evaluation, method.facts.target), method.facts.bytes
    value = found.scores.get(key, math.nan) if found is not None else math.nan
    tip = f"{method.label}: {words.size(size)}, {words.score(key, value)}"
    interval = interval_of(evaluation, method, key)
    return [Spot(method.label, method.style, size, value, tip, *interval)] if math.isfinite(value) else []


def _confusions(evaluation: Evaluation, methods: Sequence[Method]) -> list[Html]:
    """What is taken for what: matrices side by side, or with many classes the commonest mistakes."""
    named = [(FLOAT, evaluation.of(FLOAT).confusion)]
    for method in methods:
        found = scores_of(evaluation, method.facts.target)
        named += [(method.label, found.confusion)] if found is not None else []
    known = [(name, counts) for name, counts in named if counts]
    if not known:
        return []
    count = len(known[0][1])
    classes = [evaluation.classes[at] if at < len(evaluation.classes) else str(at) for at in range(count)]
    if count > _CLASSES:
        return [_mistakes(classes, [each for each in known if len(each[1]) == count])]
    drawn = [_confusion(name, classes, counts) for name, counts in known if len(counts) == count]
    return [tag("div", *drawn, class_="figures")]


def _confusion(name: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    caption = f"{name}: rows are the truth, columns the answer"
    return tag("figure", tag("h4", f"Confusion, {name}"), tables.matrix(caption, classes, counts), aria_label=caption)


def _mistakes(classes: Sequence[str], known: Sequence[tuple[str, Sequence[Sequence[int]]]]) -> Html:
    """The pairs of classes that are mixed up most often."""
    sums = {
        (truth, answer): [counts[truth][answer] for _, counts in known]
        for truth in range(len(classes))
        for answer in range(len(classes))
        if truth != answer and any(counts[truth][answer] for _, counts in known)
    }
    worst = sorted(sums.items(), key=lambda pair: (-max(pair[1]), pair[0]))[:_PAIRS]
    rows = [
        [
            tables.name(classes[truth]),
            tables.words(classes[answer]),
            *(tables.figure(count, str(count)) for count in counts),
        ]
        for (truth, answer), counts in worst
    ]
    return tables.table("Commonest mistakes", ("truth", "answer", *(name for name, _ in known)), rows)


def scores_table(evaluation: Evaluation, methods: Sequence[Method]) -> Html:
    """Every figure that was found, of each class, too."""
    floats = evaluation.of(FLOAT).scores
    columns = ["figure", FLOAT]
    for method in methods:
        columns += [method.label, f"drop of {method.label}"]
    rows = [[tables.name(str(key)), *_cells(evaluation, key, methods)] for key in floats]
    return tables.table(f"All figures: {evaluation.task} on {evaluation.data}", columns, rows)


def _changed(build: Build, methods: Sequence[Method]) -> list[Html]:
    """What is left on worse pictures: a line over the severities for each kind of change, and the figures."""
    drawn: dict[tuple[str, str, str], list[tuple[float, Evaluation]]] = {}
    for found in build.found.evaluations:
        kind, _, severity = found.condition.rpartition(" ")
        if kind and severity.isdecimal():
            drawn.setdefault((found.task, found.data, kind), []).append((float(severity[:9]), found))
    if not drawn:
        return []
    figures = []
    for (task, data, kind), points in drawn.items():
        plain = [(0.0, found) for found in as_they_are(build) if (found.task, found.data) == (task, data)]
        chart = _severities(f"{kind}: {task} on {data}", plain[:1] + sorted(points, key=lambda p: p[0]), methods)
        figures += [chart] if chart is not None else []
    changed = [found for found in build.found.evaluations if found.condition]
    title = tag("h3", "On worse pictures")
    return [title, tag("div", *figures, class_="figures"), _changed_table(changed, methods)]


def _changed_table(changed: Sequence[Evaluation], methods: Sequence[Method]) -> Html:
    """The figures that the recipe names, for each change."""
    columns = ["change", "figure", FLOAT]
    for method in methods:
        columns += [method.label, f"drop of {method.label}"]
    rows = []
    for evaluation in changed:
        for key in _asked(evaluation):
            named = f"{evaluation.condition}, {evaluation.task} on {evaluation.data}"
            rows.append([tables.name(named), tables.words(str(key)), *_cells(evaluation, key, methods)])
    return tables.table("Figures on worse pictures", columns, rows)


def _cells(evaluation: Evaluation, key: Key, methods: Sequence[Method]) -> list[Html]:
    """One figure of the float model, and of each artifact with its drop."""
    base = evaluation.of(FLOAT).scores.get(key)
    cells = [tables.figure(base, words.score(key, base))]
    for method in methods:
        found = scores_of(evaluation, method.facts.target)
        value = found.scores.get(key) if found is not None else None
        drop = _drop(evaluation, method, key)
        cells.append(tables.figure(value, words.score(key, value)))
        # Fidelity compares with float by itself, and a confidence is no score: no drop is missing there.
        cells.append(tables.nothing() if drop is None else tables.figure(drop.value, words.drop(drop)))
    return cells


def _severities(title: str, points: Sequence[tuple[float, Evaluation]], methods: Sequence[Method]) -> Html | None:
    """A figure over how much the pictures were changed; 0 is not at all."""
    key = headline(points[0][1], methods[0].facts) if methods else None
    if key is None:
        return None
    series = [Series(FLOAT, 0, _levels(points, FLOAT, key))]
    series += [Series(method.label, method.style, _levels(points, method.facts.target, key)) for method in methods]
    values = [point[1] for each in series for point in each.points]
    x = axis("severity (0: as they are)", (point[0] for point in points), zero=True)
    y = axis(str(key), values, zero=key.metric not in FREE)
    label = f"{key} over the severity of the change {title}."
    return charts.lines(Words(title, label, source(points[-1][1])), x, y, series, dots=True)


def _levels(points: Sequence[tuple[float, Evaluation]], name: str, key: Key) -> tuple[tuple[float, float], ...]:
    found = []
    for severity, evaluation in points:
        scores = scores_of(evaluation, name)
        value = scores.scores.get(key, math.nan) if scores is not None else math.nan
        found += [(severity, value)] if math.isfinite(value) else []
    return tuple(found)
