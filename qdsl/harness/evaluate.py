"""Carry out one `evaluate` statement: every model on every sample, the samples read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qdsl.harness.results import FLOAT, BuildScores, Drop, Evaluation, Key, Odd
from qdsl.harness.tasks import Case, Expected, Task, task_for
from qdsl.metrics import paired_intervals
from qdsl.targets.base import Runner

RESAMPLES = 1000
ODDEST = 12
_DECODERS = 1


Builds = Mapping[str, Runner]
Heard = Callable[[int, int], None]


def evaluate(expected: Expected, builds: Builds, heard: Heard = lambda done, total: None) -> Evaluation:
    """The figures of every model in `builds` (the float model among them, by the name `FLOAT`), and how much less than
    the float model each scores, with paired bootstrap intervals. `heard` is told of samples done.

    Raises QdslError: evaluate-* where task, data and model do not fit, data-* and image-* for samples that cannot be
    read, and what the runners raise.
    """
    task = task_for(expected)
    answers = _answers(task, expected, builds, heard)
    verdicts = {name: task.verdict(given) for name, given in answers.items()}
    scored = [
        BuildScores(
            name,
            verdict.scores,
            {}
            if name == FLOAT
            else _drops(task, answers[FLOAT], answers[name], verdicts[FLOAT].scores, verdict.scores),
            verdict.confidences,
            verdict.confusion,
        )
        for name, verdict in verdicts.items()
    ]
    odd = [odd for name in builds if name != FLOAT for odd in _odd(task, expected, name, answers)]
    dataset = expected.dataset
    return Evaluation(
        task=expected.spec.task,
        data=expected.data.name,
        samples=len(dataset),
        classes=dataset.classes,
        asked=_asked(expected, verdicts[FLOAT].scores),
        builds=tuple(scored),
        odd=tuple(odd),
        condition=expected.condition,
        statement=expected.spec.words,
    )


def _asked(expected: Expected, scores: Mapping[Key, float]) -> tuple[Key, ...]:
    named = [Key(metric.name, *metric.qualifiers) for metric in expected.metrics]
    return tuple(dict.fromkeys(named)) or tuple(key for key in scores if not key.of)


def _answers(task: Task, expected: Expected, builds: Builds, heard: Heard) -> dict[str, list[Any]]:
    """By build, the answer to each sample, in order."""
    names = [FLOAT, *(name for name in builds if name != FLOAT)]
    found: dict[str, list[Any]] = {name: [] for name in names}
    total = len(expected.dataset)
    for sample in expected.dataset.prefetch(_DECODERS):
        reference = builds[FLOAT].run(sample.arrays)
        case = Case(sample, reference)
        for name in names:
            outputs = reference if name == FLOAT else builds[name].run(sample.arrays)
            found[name].append(task.answer(outputs, case))
        heard(sample.index + 1, total)
    return found


def _drops(
    task: Task, reference: Sequence[Any], answers: Sequence[Any], of: Mapping[Key, float], to: Mapping[Key, float]
) -> dict[Key, Drop]:
    keys = [key for key in of if key in to and key.metric != "confidence"]
    one, two = task.statistic(reference, keys), task.statistic(answers, keys)
    if one is None or two is None or not keys:
        return {}
    intervals = paired_intervals(lambda drawn: (one(drawn), two(drawn)), len(answers), RESAMPLES)
    return {
        key: Drop(of[key] - to[key], interval.low, interval.high) for key, interval in zip(keys, intervals, strict=True)
    }


def _odd(task: Task, expected: Expected, name: str, answers: Mapping[str, Sequence[Any]]) -> list[Odd]:
    """The samples whose answers differ most from the float model's, most first."""
    pairs = list(zip(answers[FLOAT], answers[name], strict=True))
    distances = [task.distance(one, two) for one, two in pairs]
    order = sorted(range(len(pairs)), key=lambda at: (-distances[at], at))
    return [
        Odd(
            name,
            expected.dataset.ids[at],
            distances[at],
            task.words(pairs[at][0]),
            task.words(pairs[at][1]),
            task.truth(pairs[at][0]),
            at,
            None if expected.condition else task.views(at, *pairs[at]),
        )
        for at in order[:ODDEST]
        if distances[at] > 0 and math.isfinite(distances[at])
    ]
