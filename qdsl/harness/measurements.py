"""Evaluations and profiles as JSON: what was measured, for machines and for later reports."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qdsl.harness.profiles import Profile
from qdsl.harness.results import BuildScores, Evaluation, Key
from qdsl.targets.results import Fidelity

FORMAT = 1
_QUANTILES = 200  # steps of the distribution of confidences that are kept


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The float model: `bytes` with external data; `files` by name with their SHA-256; `macs` per run."""

    name: str
    nodes: int
    parameters: int
    macs: int
    opset: int
    bytes: int
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """One artifact. `kernels` are (operator, nodes predicted to run in integers, nodes that do); `outputs` and `layers`
    hold tensors against the float model's; `device` is where its budgets are decided, "" for any; `budgets` are plain
    data: text, verdict, value, bound, unit, low, high, source."""

    target: str
    mode: str
    device: str
    bytes: int
    files: Mapping[str, str]
    plan_sha256: str
    integer_macs: int
    kernels: Sequence[tuple[str, int, int]]
    mismatches: int
    outputs: Sequence[Fidelity]
    layers: Sequence[Fidelity]
    budgets: Sequence[Mapping[str, Any]]


def document(
    recipe: str,
    model: ModelFacts,
    builds: Sequence[BuildFacts],
    evaluations: Sequence[Evaluation],
    profiles: Sequence[Profile],
) -> str:
    """`measurements.json`: what is known and was measured of one build, with the hashes that say of which files. Where
    nothing was profiled, the same build gives the same text."""
    content = {
        "format": FORMAT,
        "recipe": recipe,
        "model": asdict(model),
        "builds": {build.target: asdict(build) for build in builds},
        "evaluations": [evaluation_json(found) for found in evaluations],
        "profiles": [profile_json(found) for found in profiles],
    }
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The same with what is infinite or not a number as a text: JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """One evaluation as plain data with finite numbers: what is infinite or not a number is a text."""
    return {
        "task": found.task,
        "data": found.data,
        "condition": found.condition,
        "samples": found.samples,
        "classes": list(found.classes),
        "asked": [str(key) for key in found.asked],
        "builds": {build.build: _build(build) for build in found.builds},
        "odd": [
            {
                "build": odd.build,
                "sample": odd.sample,
                "distance": _number(odd.distance),
                "float": odd.float_answer,
                "answer": odd.answer,
                "truth": odd.truth,
            }
            for odd in found.odd
        ],
    }


def profile_json(found: Profile) -> dict[str, Any]:
    """One profile as plain data: seconds, bytes, joules; every run is kept."""
    return {
        "target": found.target,
        "measured_on": "this machine",
        "batch": found.batch,
        "threads": found.threads,
        "warmup": found.warmup,
        "environment": found.environment,
        "builds": {
            build.build: {
                "seconds": list(build.seconds),
                "latency": {form: build.latency(form) for form in ("mean", "p50", "p90", "p95", "p99", "max")},
                "throughput": found.throughput(build.build),
                "cpu": build.cpu,
                "peak_memory": build.peak_memory,
                "bare_memory": build.bare_memory,
                "energy": build.energy,
            }
            for build in found.builds
        },
    }


def _build(found: BuildScores) -> dict[str, Any]:
    drops: Mapping[Key, Any] = found.drops
    return {
        "scores": {str(key): _number(value) for key, value in found.scores.items()},
        "drops": {
            str(key): {"value": _number(drop.value), "interval_95": [_number(drop.low), _number(drop.high)]}
            for key, drop in drops.items()
        },
        "confidence_quantiles": [_number(value) for value in _quantiles(found.confidences)],
        "confusion": [list(row) for row in found.confusion],
    }


def _quantiles(rising: tuple[float, ...]) -> list[float]:
    """The values at equal steps through a rising row, its ends included; all of a short one."""
    if len(rising) <= _QUANTILES + 1:
        return list(rising)
    return [rising[round(step * (len(rising) - 1) / _QUANTILES)] for step in range(_QUANTILES + 1)]


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
