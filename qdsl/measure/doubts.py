"""What measured figures say less than they seem to: a float model that guesses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qdsl.diag import Diagnostic, Severity
from qdsl.harness import FLOAT, Evaluation
from qdsl.harness.results import Key
from qdsl.harness.tasks import Expected
from qdsl.spec.words import count

_FEWEST = 10  # samples: of fewer, no share is told from guessing
_FINDS_NOTHING = 0.01  # mAP50
_PERMUTED = 0.7  # the share that another order of classes makes right
_MOST_NAMED = 12
_CURES = (
    "look at the `input` block first: size, channel order (`color bgr`), mean and std as in training",
    "then at the classes: their order in the data is that of the model's outputs",
)


def guessing(expected: Sequence[Expected], evaluated: Sequence[Evaluation]) -> Iterator[Diagnostic]:
    """Float models that are right no more often than by guessing: what a build loses against them says nothing."""
    for asked, found in zip(expected, evaluated, strict=True):
        if found.condition:
            continue
        share = _classes_right(found)
        if share is not None:
            yield _warned(asked, found, f"is right on {share:.0%} of each class".replace("%", " %"), _order(found))
        score = found.of(FLOAT).scores.get(Key("map50"))
        if found.task == "detection" and score is not None and score < _FINDS_NOTHING:
            yield _warned(asked, found, f"finds nothing (mAP50 {score:.4f})", None)


def _warned(asked: Expected, found: Evaluation, what: str, order: str | None) -> Diagnostic:
    guess = ", no more than guessing" if found.task != "detection" else ""
    cures = ((order,) if order is not None else ()) + _CURES
    headline = f"the float model {what}{guess}, on {count(found.samples, 'sample')} of {found.data}"
    return Diagnostic("evaluate-chance", headline, asked.spec.span, help=cures, severity=Severity.WARNING)


def _classes_right(found: Evaluation) -> float | None:
    """The mean share of each class that the float model has right, where that is no more than one answer for everything
    would have; None where it is more, or too little is there to tell."""
    shares = [row[at] / sum(row) for at, row in enumerate(found.of(FLOAT).confusion) if sum(row)]
    if len(shares) < 2 or found.samples < _FEWEST:
        return None
    chance = 1 / len(shares)
    noise = math.sqrt(chance * (1 - chance) / found.samples)
    mean = math.fsum(shares) / len(shares)
    return mean if mean <= chance + noise else None


def _order(found: Evaluation) -> str | None:
    """The order of classes with which most would be right; None where no order would do."""
    confusion = found.of(FLOAT).confusion
    best = [max(range(len(row)), key=row.__getitem__) for row in confusion]
    whole = sum(map(sum, confusion))
    right = sum(row[at] for row, at in zip(confusion, best, strict=True))
    if len(set(best)) < len(best) or len(best) > min(_MOST_NAMED, len(found.classes)) or right < _PERMUTED * whole:
        return None
    # The class that the data calls by its place is what the model says at `best`.
    names = [found.classes[best.index(at)] for at in range(len(best))]
    listed = ", ".join(f'"{name[:60]}"' for name in names)
    return f"with `classes [{listed}]` it would be right on {right / whole:.0%}".replace("%", " %")
