"""What `calibrate auto` chooses from: the range of each method for one tensor, all from one distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qdsl.calibrate.histogram import Distribution
from qdsl.calibrate.request import Request
from qdsl.calibrate.thresholds import exact_error, find
from qdsl.spec.plan import TRIED


@dataclass(frozen=True, slots=True)
class Candidate:
    """The range that `method` ("percentile 99.99") gives. `error` is the mean squared error of storing the tensor's own
    values in it."""

    method: str
    low: float
    high: float
    error: float


def candidates(request: Request, values: Distribution) -> tuple[Candidate, ...]:
    """The range of each method for `values`, which are not empty."""
    found = []
    for method, share in TRIED:
        one = replace(request, method=method, percentile=share)
        low, high = (values.low, values.high) if method == "minmax" else find(one, values)
        found.append(Candidate(str(replace(one, symmetric=False)), low, high, _error(request, values, low, high)))
    return tuple(found)


def least_error(found: Sequence[Candidate]) -> Candidate:
    """The one that costs the tensor's own values least; of equals the first."""
    return min(found, key=lambda each: each.error)


def _error(request: Request, values: Distribution, low: float, high: float) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    if request.symmetric:
        low, high = -max(-low, high), max(-low, high)
    if low == high:
        return 0.0
    return exact_error(values.flat(), low, high, request.levels - 1) / values.total
