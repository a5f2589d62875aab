"""Everything that is known and was measured of one build, as JSON: for machines, and for later reports.

`qdsl.harness.reading` reads it back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Annotated, Any

from qdsl.causes.records import Causes
from qdsl.harness.check import json_ready
from qdsl.harness.engine_checks import EngineCheck
from qdsl.harness.profiles import FORMS, Profile
from qdsl.harness.results import BuildScores, Evaluation, Odd, Shown
from qdsl.lang.vocabulary import FORMS as BUDGET_FORMS
from qdsl.lang.vocabulary import METRICS
from qdsl.spec import UNITS
from qdsl.spec.arena import Arena
from qdsl.spec.bounds import SPARE, Count, Figure, FileName, Keyed, OneOf, Sha256
from qdsl.spec.emulated import Emulated, Memory
from qdsl.targets.results import Fidelity

FORMAT = 4
FILE = "measurements.json"
PICTURES = "pictures"  # the folder of the small pictures, beside the file
RECIPE = "recipe.txt"  # beside it: the recipe as it was compiled, for people
LINKED = ("flash", "ram")  # what a linker decides of emitted C, and a run of its stack
COUNTED = "instructions"  # what a run on an emulated core decides
COSTS = ("latency", "throughput", "cpu", "memory", "energy")  # what a profile decides
_QUANTILES = 200  # steps of the distribution of confidences that are kept


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The float model: `bytes` with external data; `files` by name with their SHA-256; `macs` per run, without those of
    `uncounted` nodes, which are not known; `activations` are the most bytes of them that live at the same time, from
    the graph, None where a shape is free."""

    name: str
    nodes: Count
    parameters: Count
    macs: Count
    uncounted: Count
    opset: Count
    bytes: Count
    activations: Count | None
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """One `require`: its words, "holds", "broken" or "undecided"; what it asks for, so that it can be decided again (a
    `metric` with its `qualifiers`; `form` is value, drop, ratio, speedup or holds; `comparison` and `bound` are None
    for a condition without a bound); and what decided it. `value` (None: not measured) and `bound` are in base units
    (bytes, seconds, fractions), `low` and `high` the ends of an interval around `value`, None where there is none.
    `source` says what decided it, or why nothing did; `statement` which `evaluate` did, or has to ("" for none)."""

    text: str
    verdict: Annotated[str, OneOf(("holds", "broken", "undecided"))]
    metric: Annotated[str, OneOf(tuple(row.name for row in METRICS))]
    qualifiers: tuple[str, ...]
    form: Annotated[str, OneOf(("value", "holds", *BUDGET_FORMS))]
    comparison: Annotated[str, OneOf(("<=", ">=", "<", ">", "==", "!="))] | None
    value: Figure | None
    bound: Figure | None
    unit: Annotated[str, OneOf(tuple(UNITS))] | None
    low: Figure | None
    high: Figure | None
    source: str
    statement: str

    def problem(self) -> str:
        """Whether something that is counted is no number, in words; "" where it is one."""
        counted = self.unit is not None and UNITS[self.unit].measures == "bytes"
        told = [each for each in (self.value, self.bound, self.low, self.high) if each is not None]
        return "expected finite numbers of bytes" if counted and not all(map(isfinite, told)) else ""

    @property
    def margin(self) -> float | None:
        """The share of the bound that is left, negative where it is broken; None where nothing was measured, and for
        what has to be equal or different."""
        if self.value is None or not self.bound or self.comparison not in ("<", "<=", ">", ">="):
            return None
        left = self.bound - self.value if self.comparison.startswith("<") else self.value - self.bound
        return left / abs(self.bound)


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """One artifact. `integer_macs` multiply integers, as far as that was verified; `kernels` are (operator, nodes
    predicted to run in integers, nodes that do); `mismatches` None: nothing told which kernels run; `outputs` and
    `layers` hold tensors against the float model's, on samples of `source`; `activations` is as in `ModelFacts`;
    `device` is where its budgets are decided, "" for any; `not_verified` why it did not run on the machine that built
    it, "" where it did; `unordered` are the outputs that are held against nothing, each with why; `causes` is
    where the error of the outputs comes from, `engine` what an engine that was built of it where it was made computes;
    None where that was not asked; `emulated` what its C did on an emulated core, `not_emulated` why it was not run,
    `arena` where its tensors lie, None where its runtime sees to that;
    `memory` what the linker was foreseen to make of it, `macc` what it computes as ST's tool counts; `widths` those
    that are emulated in wider types ("uint8 as 6 bit (emulated)"), whose time and memory are those of these types;
    `activation_bits` and `bops` are what all widths come to, the mean over the elements of quantized activations and
    bit operations, None where that is not known."""

    target: FileName
    mode: str
    device: str
    bytes: Count
    files: Mapping[FileName, Sha256]
    plan_sha256: Sha256
    integer_macs: Count
    activations: Count | None
    kernels: tuple[tuple[str, Count, Count], ...]
    mismatches: Count | None
    source: str
    outputs: tuple[Fidelity, ...]
    layers: tuple[Fidelity, ...]
    budgets: tuple[BudgetFacts, ...]
    not_verified: Annotated[str, SPARE] = ""
    unordered: Annotated[Mapping[str, str], SPARE] = field(default_factory=dict)
    causes: Annotated[Causes | None, SPARE] = None
    engine: Annotated[EngineCheck | None, SPARE] = None
    emulated: Annotated[Emulated | None, SPARE] = None
    not_emulated: Annotated[str, SPARE] = ""
    arena: Annotated[Arena | None, SPARE] = None
    memory: Annotated[Memory | None, SPARE] = None
    macc: Annotated[Count | None, SPARE] = None
    widths: Annotated[tuple[str, ...], SPARE] = ()
    activation_bits: Annotated[float | None, SPARE] = None
    bops: Annotated[Count | None, SPARE] = None


@dataclass(frozen=True, slots=True)
class LockFacts:
    """The lock that pins what the build depended on."""

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Measurements:
    """`measurements.json`: `recipe_sha256` is of what the recipe decides, `builds` are by target, `pictures` that stand
    beside it by name with their SHA-256, `environment` in words, and the lock, None for none."""

    recipe: str
    recipe_sha256: Sha256
    model: ModelFacts
    builds: Annotated[tuple[BuildFacts, ...], Keyed("target")]
    evaluations: tuple[Evaluation, ...]
    profiles: tuple[Profile, ...]
    pictures: Mapping[FileName, Sha256]
    environment: Mapping[str, str]
    lock: LockFacts | None = None


def document(found: Measurements) -> str:
    """The text of the file, with the hashes that say of which files it speaks. Where nothing was profiled, the same
    build on the same machine gives the same text."""
    content = {
        "format": FORMAT,
        "recipe": found.recipe,
        "recipe_sha256": found.recipe_sha256,
        "model": asdict(found.model),
        "builds": {build.target: _facts(build) for build in found.builds},
        "evaluations": [evaluation_json(each) for each in found.evaluations],
        "profiles": [profile_json(each) for each in found.profiles],
        "pictures": found.pictures,
        "environment": found.environment,
        "lock": None if found.lock is None else asdict(found.lock),
    }
    text = json.dumps(json_ready(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "replace").decode("utf-8")  # names of files may be no text


def _facts(found: BuildFacts) -> dict[str, Any]:
    """Some stand there alone where there is something to say."""
    seldom = (
        *("not_verified", "unordered", "causes", "engine", "emulated", "not_emulated", "arena", "memory", "macc"),
        *("activation_bits", "bops"),
    )
    return {name: value for name, value in asdict(found).items() if value or name not in seldom}


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """One evaluation as plain data with finite numbers: what is infinite or not a number is a text."""
    content = {
        "task": found.task,
        "data": found.data,
        "condition": found.condition,
        "statement": found.statement,
        "samples": found.samples,
        "classes": found.classes,
        "asked": [str(key) for key in found.asked],
        "builds": {build.build: _build(build) for build in found.builds},
        "odd": [_odd(odd) for odd in found.odd],
    }
    plain: dict[str, Any] = json_ready(content)
    return plain


def _build(found: BuildScores) -> dict[str, Any]:
    return {
        "scores": {str(key): value for key, value in found.scores.items()},
        "drops": {
            str(key): {"value": drop.value, "interval_95": [drop.low, drop.high]} for key, drop in found.drops.items()
        },
        "confidence_quantiles": _quantiles(found.confidences),
        "confusion": found.confusion,
        **({"instead": found.instead} if found.instead else {}),
    }


def _odd(odd: Odd) -> dict[str, Any]:
    views = odd.views
    return {
        "build": odd.build,
        "sample": odd.sample,
        "index": odd.index,
        "distance": odd.distance,
        "float": odd.float_answer,
        "answer": odd.answer,
        "truth": odd.truth,
        "picture": odd.picture,
        "views": None
        if views is None
        else {
            "height": views.height,
            "width": views.width,
            "float": _shown(views.float_answer),
            "answer": _shown(views.answer),
            "truth": _shown(views.truth),
        },
    }


def _shown(shown: Shown) -> dict[str, Any]:
    """Boxes as [x0, y0, x1, y1, class, score]; a map's runs as one text of `class:cells`."""
    cells = shown.cells
    runs = "" if cells is None else " ".join(f"{label}:{count}" for label, count in cells.runs)
    return {
        "boxes": [[box.x0, box.y0, box.x1, box.y1, box.label, box.score] for box in shown.boxes],
        "cells": None if cells is None else {"height": cells.height, "width": cells.width, "runs": runs},
    }


def budget_json(found: BudgetFacts) -> dict[str, Any]:
    """One budget as plain data with finite numbers, and what is left of its bound."""
    plain: dict[str, Any] = json_ready({**asdict(found), "margin": found.margin})
    return plain


def profile_json(found: Profile) -> dict[str, Any]:
    """One profile as plain data: seconds, bytes, joules; every run is kept."""
    return {
        "target": found.target,
        "measured_on": found.measured_on,
        "others": found.others,
        "decides": found.decides,
        "batch": found.batch,
        "threads": found.threads,
        "warmup": found.warmup,
        "environment": found.environment,
        "builds": {
            build.build: {
                "seconds": list(build.seconds),
                "latency": {form: build.latency(form) for form in FORMS},
                "throughput": found.throughput(build.build),
                "cpu": build.cpu,
                "peak_memory": build.peak_memory,
                "bare_memory": build.bare_memory,
                "memory_runs": [list(each) for each in build.memory_runs],
                "energy": build.energy,
            }
            for build in found.builds
        },
    }


def _quantiles(rising: Sequence[float]) -> list[float]:
    """The values at equal steps through a rising row, its ends included; all of a short one."""
    if len(rising) <= _QUANTILES + 1:
        return list(rising)
    return [rising[round(step * (len(rising) - 1) / _QUANTILES)] for step in range(_QUANTILES + 1)]
