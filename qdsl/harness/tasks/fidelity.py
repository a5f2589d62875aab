"""`evaluate fidelity`: a build's outputs beside the float model's, without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import ClassVar

from qdsl.harness.results import Key
from qdsl.harness.tasks.base import Case, Expected, Outputs, Statistic, Verdict, require_outputs, unreadable
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


class Fidelity:
    """Every output, or those that `output` names. Classes are looked for along axis 1."""

    told: ClassVar[str] = ""

    def __init__(self, expected: Expected) -> None:
        require_outputs(expected, most=max(1, len(expected.outputs)))
        self._expected = expected
        self._outputs = expected.spec.output or expected.outputs

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
