"""Evaluations and profiles as JSON: what was measured, for machines and for later reports."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdsl.harness.profiles import Profile
from qdsl.harness.results import BuildScores, Evaluation, Key

FORMAT = 1
_QUANTILES = 200  # steps of the distribution of confidences that are kept


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one model without running it: bytes, and the SHA-256 of each of its files, by name."""

    bytes: int
    files: Mapping[str, str]


def document(
    recipe: str, facts: Mapping[str, Facts], evaluations: Sequence[Evaluation], profiles: Sequence[Profile]
) -> str:
    """`measurements.json`: everything measured on the builds in `facts` (the float model among them), with the hashes
    that say which files it speaks of."""
    content = {
        "format": FORMAT,
        "recipe": recipe,
        "builds": {name: {"bytes": each.bytes, "files": dict(each.files)} for name, each in facts.items()},
        "evaluations": [evaluation_json(found) for found in evaluations],
        "profiles": [profile_json(found) for found in profiles],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """One evaluation as plain data with finite numbers: what is infinite or not a number is a text."""
    return {
        "task": found.task,
        "data": found.data,
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
