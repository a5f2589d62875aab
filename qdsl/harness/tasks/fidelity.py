"""`evaluate fidelity`: a build's outputs beside the float model's, without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import ClassVar

from qdsl.harness.results import Key
from qdsl.harness.tasks.base import Case, Expected, Outputs, Statistic, Verdict, require_outputs, unreadable, wrong
from qdsl.metrics import FidelitySums

Answer = Mapping[str, FidelitySums]
# For all outputs together, the worst of them.
_METRICS: dict[str, tuple[Callable[[FidelitySums], float], Callable[[Sequence[float]], float]]] = {
    "agreement": (lambda sums: sums.agreement, min),
    "cosine": (lambda sums: sums.cosine, min),
    "sqnr": (lambda sums: sums.sqnr_db, min),
    "mse": (lambda sums: sums.mse, max),
    "max_error": (lambda sums: sums.max_error, max),
}


def left_out(expected: Expected) -> dict[str, str]:
    """The outputs that are not compared, with why: those without a fixed order of rows that nothing names."""
    named = {*expected.spec.output, *(name for metric in expected.metrics for name in metric.qualifiers)}
    return {} if expected.spec.output else {n: why for n, why in expected.unordered.items() if n not in named}


class Fidelity:
    """Every output whose rows have an order of their own, or those that are named. Classes are looked for along
    axis 1."""

    told: ClassVar[str] = ""

    def __init__(self, expected: Expected) -> None:
        require_outputs(expected, most=max(1, len(expected.outputs)))
        self._expected = expected
        out = left_out(expected)
        self._outputs = expected.spec.output or tuple(name for name in expected.outputs if name not in out)
        if not self._outputs:
            first, why = next(iter(out.items()))
            cure = f'name one that is to be compared all the same: `output "{first[:60]}"`'
            label = f"`{first[:60]}`: {why}"
            raise wrong(
                "evaluate-output", "no output can be compared row by row", expected.spec.span, cure, label=label
            )

    def answer(self, outputs: Outputs, case: Case) -> Answer:
        found = {}
        for name in self._outputs:
            sums = FidelitySums()
            try:
                sums.add(case.reference[name], outputs[name])
            except ValueError as error:
                raise unreadable(self._expected, f"{name}: {error}") from None
            found[name] = sums
        return found

    def verdict(self, answers: Sequence[Answer]) -> Verdict:
        totals = {name: reduce(_merged, (answer[name] for answer in answers), FidelitySums()) for name in self._outputs}
        scores: dict[Key, float] = {}
        for metric, (measure, worst) in _METRICS.items():
            values = {name: measure(sums) for name, sums in totals.items()}
            known = [value for value in values.values() if value == value]  # NaN: nothing to say
            if known:
                scores[Key(metric)] = worst(known)
                scores |= {Key(metric, name): value for name, value in values.items() if value == value}
        return Verdict(scores)

    def statistic(self, answers: Sequence[Answer], keys: Sequence[Key]) -> Statistic | None:
        return None

    def distance(self, one: Answer, other: Answer) -> float:
        """The largest share of noise in an output of the sample: sum (x - y)^2 / sum x^2."""
        return max(sums.noise / sums.signal if sums.signal else sums.noise for sums in other.values())

    def words(self, answer: Answer) -> str:
        return ", ".join(f"{name} {sums.sqnr_db:.1f} dB" for name, sums in answer.items())

    def truth(self, answer: Answer) -> str:
        return ""

    def views(self, index: int, one: Answer, other: Answer) -> None:
        return None


def _merged(total: FidelitySums, part: FidelitySums) -> FidelitySums:
    total.merge(part)
    return total
