"""What `allocate` tried by building: a figure of the choices by the share that stays in integers, and all of them in a
table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qdsl.report import charts, tables, words
from qdsl.report.axes import axis
from qdsl.report.charts import Series, Words
from qdsl.report.data import Method
from qdsl.report.html import NOTHING, Html, join, tag
from qdsl.spec.allocation import Allocation, Held, Raced, Trial
from qdsl.spec.words import count


def drawn(method: Method) -> list[Html]:
    """A chart of the first bound's metric; none where nothing was built for it."""
    found = _found(method)
    return [] if found is None else list(_chart(found))


def listed(method: Method) -> Html:
    """What the lock says of the types, and every choice that was tried; nothing where nothing was allocated."""
    told, found = method.build.allocations.get(method.facts.target), _found(method)
    if told is None:
        return NOTHING
    why = tag("p", f"Types of {told.what} by `allocate`: {told.evidence}.", class_="note")
    return why if found is None else join([why, _table(found)])


def _found(method: Method) -> Allocation | None:
    found = method.build.allocations.get(method.facts.target)
    return None if found is None or found.taken is None or found.taken >= len(found.trials) else found


def _chart(found: Allocation) -> Iterator[Html]:
    assert found.taken is not None, "it was looked for"
    taken = found.trials[found.taken]
    if not taken.held:
        return
    text = taken.held[0].text
    kinds = (
        ("holds", 1, [each for each in found.trials if each.holds]),
        ("does not", 3, [each for each in found.trials if not each.holds]),
        ("taken", 2, [taken]),
    )
    series = [Series(name, style, tuple(sorted(_places(trials, text)))) for name, style, trials in kinds]
    points = [point for each in series for point in each.points]
    if not points:
        return
    around = Words(
        "What layers in integers cost",
        f"{text}, by the share of multiplications in integers; taken: {words.share(taken.integer_share)}.",
        f"{text}. Measured: {_many(found)}, each built as it ships.",
    )
    shares, values = [x for x, _ in points], [y for _, y in points]
    yield charts.lines(around, axis("% in integers", shares), axis(_metric(text), values), series, dots=True)


def _places(trials: Sequence[Trial], text: str) -> Iterator[tuple[float, float]]:
    for trial in trials:
        value = next((each.value for each in trial.held if each.text == text), None)
        if value is not None and math.isfinite(value):
            yield 100 * trial.integer_share, value


def _metric(text: str) -> str:
    return text.split(" ", 1)[0]


def _many(found: Allocation) -> str:
    return count(len(found.trials), "choice")


def _table(found: Allocation) -> Html:
    bounds = tuple(dict.fromkeys(each.text for trial in found.trials for each in trial.held))
    columns = ("choice", *bounds, "in integers", "milliseconds", "of float", "")
    rows = [_row(at, trial, bounds, taken=at == found.taken) for at, trial in enumerate(found.trials)]
    return tables.table(f"What was tried for the types of {found.what}: {_many(found)}", columns, rows)


def _row(at: int, trial: Trial, bounds: Sequence[str], *, taken: bool) -> list[Html]:
    held = {each.text: each for each in trial.held}
    told = trial.why or ("taken" if taken else "holds" if trial.holds else "does not hold")
    return [
        tables.figure(at + 1, str(at + 1)),
        *(_bound(held.get(text)) for text in bounds),
        tables.nothing() if trial.why else tables.figure(trial.integer_share, words.share(trial.integer_share)),
        *_raced(trial.raced),
        tables.words(told),
    ]


def _bound(held: Held | None) -> Html:
    return tables.nothing() if held is None else tables.figure(held.value, f"{held.value:.4g}")


def _raced(raced: Raced | None) -> tuple[Html, Html]:
    if raced is None:
        return tables.nothing(), tables.nothing()
    ratio = tables.figure(raced.ratio, f"{raced.ratio:.2f}x")
    return tables.figure(raced.milliseconds, f"{raced.milliseconds:.3g}"), ratio
