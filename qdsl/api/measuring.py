"""What `compile` measures of its artifacts, how that decides the budgets, and how all of it is written down."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from qdsl.api import evaluating, profiling
from qdsl.api.budgets import Budget, Name, Reading, decide_budgets
from qdsl.api.prepare import Prepared, model_span, placed_at
from qdsl.api.writing import write_bytes, write_text
from qdsl.diag import Report
from qdsl.harness import Evaluation, Odd
from qdsl.harness.environment import lasting
from qdsl.harness.measurements import (
    FILE,
    PICTURES,
    BudgetFacts,
    BuildFacts,
    LockFacts,
    Measurements,
    ModelFacts,
    document,
)
from qdsl.harness.pictures import thumbnail
from qdsl.harness.profiles import Profile
from qdsl.harness.tasks import Expected
from qdsl.lang.recipe import Target
from qdsl.lock import Fingerprints
from qdsl.plan import Plan, plan_hash
from qdsl.targets.results import Emitted, Verification

Stage = Callable[[str], Callable[[str, int, int], None]]
_PICTURE = re.compile(r"\d{3}\.jpg")


@dataclass(frozen=True, slots=True)
class Made:
    """What was emitted and verified for one target."""

    plan: Plan
    emitted: Emitted
    verification: Verification


@dataclass(frozen=True, slots=True)
class Measured:
    """How good the answers are, and what they cost; `pictures` are small JPEG files of samples, by name."""

    evaluations: tuple[Evaluation, ...] = ()
    profiles: tuple[Profile, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def foreseen(prepared: Prepared, plans: Sequence[Plan], report: Report, *, needed: bool) -> tuple[Expected, ...]:
    """What is to be evaluated, checked as far as that goes before anything is measured or written. Raises QdslError:
    evaluate-*, profile-batch, data-*."""
    for block in prepared.recipe.targets:
        if block.name in {plan.target for plan in plans}:
            profiling.require_batch(prepared, block)
    return evaluating.planned(prepared, report, needed=needed)


def measured(
    prepared: Prepared, made: Sequence[Made], expected: Sequence[Expected], stage: Stage, report: Report
) -> Measured:
    """The float model and what was made, on what is to be evaluated and profiled; `stage` gives who hears of it."""
    built = {each.plan.target: each.emitted for each in made}
    with placed_at(model_span(prepared), "artifact-refused"):
        evaluated = evaluating.evaluations(prepared, expected, built, stage("evaluate"))
        evaluated, pictures = _pictured(evaluated, expected)
        profiled = profiling.profiles(prepared, expected, built, stage("profile"), report)
    return Measured(evaluated, profiled, pictures)


def _pictured(
    evaluated: Sequence[Evaluation], expected: Sequence[Expected]
) -> tuple[tuple[Evaluation, ...], dict[str, bytes]]:
    """The evaluations with a picture for each sample that differs much, one file per sample, where samples are
    pictures and shown as they are."""
    files: dict[str, bytes] = {}
    found = []
    for evaluation, asked in zip(evaluated, expected, strict=True):
        names: dict[int, str] = {}
        for index in dict.fromkeys(odd.index for odd in evaluation.odd if not asked.condition):
            picture = thumbnail(asked.dataset, index, asked.data.span)
            if picture is not None:
                names[index] = f"{len(files):03}.jpg"
                files[names[index]] = picture
        odd: tuple[Odd, ...] = tuple(replace(odd, picture=names.get(odd.index, "")) for odd in evaluation.odd)
        found.append(replace(evaluation, odd=odd))
    return tuple(found), files


def budgets(prepared: Prepared, made: Made, found: Measured) -> tuple[Budget, ...]:
    """The budgets of one target, by what was measured for it."""
    totals = made.plan.totals
    readings: dict[Name, Reading] = {
        ("size", ()): Reading(float(made.emitted.size), float(max(1, prepared.file_bytes))),
        ("macs", ()): Reading(float(totals.macs), float(totals.macs), source="from the graph"),
    }
    if totals.macs:
        source = "predicted, and verified" if made.verification.as_predicted else "predicted, and not what runs"
        readings["integer_share", ()] = Reading(totals.integer_macs / totals.macs, source=source)
    block = _block(prepared, made)
    readings |= evaluating.readings(found.evaluations, made.plan.target)
    readings |= profiling.readings(found.profiles, block)
    return decide_budgets(prepared.recipe, block, readings)


def write(
    directory: Path,
    prepared: Prepared,
    made: Sequence[Made],
    found: Measured,
    decided: Sequence[Sequence[Budget]],
    lock: Path | None,
) -> None:
    """Writes `measurements.json` with its pictures; what was not measured is not in it. Raises QdslError
    (artifact-write)."""
    folder = directory / PICTURES
    for name, picture in found.pictures.items():
        write_bytes(folder / name, picture)
    write_text(directory / FILE, document(_measurements(prepared, made, found, decided, lock)))
    stale = [path for path in folder.iterdir() if path.name not in found.pictures] if folder.is_dir() else []
    for path in stale:
        if _PICTURE.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _measurements(
    prepared: Prepared,
    made: Sequence[Made],
    found: Measured,
    decided: Sequence[Sequence[Budget]],
    lock: Path | None,
) -> Measurements:
    pairs = zip(made, decided, strict=True)
    return Measurements(
        recipe=prepared.recipe.name,
        model=_model_facts(prepared, made[0].plan.totals.macs if made else 0),
        builds=tuple(_build_facts(each, _block(prepared, each), budgets) for each, budgets in pairs),
        evaluations=found.evaluations,
        profiles=found.profiles,
        pictures={name: hashlib.sha256(picture).hexdigest() for name, picture in found.pictures.items()},
        environment=lasting(),
        lock=None if lock is None else LockFacts(lock.name, hashlib.sha256(lock.read_bytes()).hexdigest()),
    )


def _model_facts(prepared: Prepared, macs: int) -> ModelFacts:
    assert prepared.model.path is not None, "a recipe's model is a file"
    return ModelFacts(
        name=prepared.model.name,
        nodes=len(prepared.view.nodes),
        parameters=prepared.model.parameters,
        macs=macs,
        opset=prepared.view.opset,
        bytes=prepared.file_bytes,
        files=dict(Fingerprints().model(prepared.model.path, prepared.external, model_span(prepared))),
    )


def _build_facts(made: Made, block: Target, decided: Sequence[Budget]) -> BuildFacts:
    verified = made.verification
    plain = [{name: value for name, value in asdict(budget).items() if name != "span"} for budget in decided]
    return BuildFacts(
        target=made.plan.target,
        mode=made.plan.mode,
        device=block.device or "",
        bytes=made.emitted.size,
        files={file.name: file.sha256 for file in made.emitted.files},
        plan_sha256=plan_hash(made.plan),
        integer_macs=made.plan.totals.integer_macs,
        kernels=tuple((each.kernel, each.predicted, each.real) for each in verified.kernels),
        mismatches=len(verified.mismatches),
        source=verified.source,
        outputs=verified.outputs,
        layers=verified.layers,
        budgets=tuple(BudgetFacts(**each) for each in plain),
    )


def _block(prepared: Prepared, made: Made) -> Target:
    return next(target for target in prepared.recipe.targets if target.name == made.plan.target)
