"""What `compile` measures of its artifacts, how that decides the budgets, and how all of it is written down."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from qdsl.causes.records import Causes
from qdsl.diag import Diagnostics
from qdsl.graph.liveness import peak_activations
from qdsl.harness import Evaluation, Odd
from qdsl.harness.engine_checks import EngineCheck
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
from qdsl.lang.recipe import Recipe, Target
from qdsl.lock import Fingerprints, meaning
from qdsl.measure import asking, emulating, evaluating, profiling, widths
from qdsl.measure.budgets import Budget, Name, Reading, Readings, decide_budgets
from qdsl.measure.doubts import guessing
from qdsl.predict.bits import UNKNOWN, Bits
from qdsl.spec.emulated import Emulated, Memory
from qdsl.spec.plan import Plan, Totals
from qdsl.spec.plan_json import plan_hash
from qdsl.targets import target_of
from qdsl.targets.results import Emitted, NotHere, Verification
from qdsl.work.prepared import Prepared, model_prints
from qdsl.work.writing import write_bytes, write_text

Stage = Callable[[str], Callable[[str, int, int], None]]
_PICTURE = re.compile(r"\d{3}\.jpg")


@dataclass(frozen=True, slots=True)
class Made:
    """What was emitted for one target, and verified, where it runs here; `bits` is what its widths come to, as it
    runs."""

    plan: Plan
    emitted: Emitted
    verification: Verification | NotHere
    bits: Bits = UNKNOWN

    @property
    def seen(self) -> Verification | None:
        """What running it showed; None where it does not run here."""
        return None if isinstance(self.verification, NotHere) else self.verification


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an artifact without timing it: its bytes, the multiplications of a run (those of `uncounted`
    nodes are not known), how many of them are of integers, and how many nodes run otherwise than predicted (None:
    nothing told what runs); what its C did on an emulated core, or why that was not run; what
    the linker was foreseen to make of it; what its widths come to."""

    target: str
    size: int
    macs: int
    uncounted: int
    integer_macs: int
    mismatches: int | None
    emulated: Emulated | None = None
    not_emulated: str = ""
    memory: Memory | None = None
    bits: Bits = UNKNOWN

    @staticmethod
    def of(made: Made) -> Standing:
        totals, seen = made.plan.totals, made.seen
        emulated = (None, "", None) if seen is None else (seen.emulated, seen.not_emulated, seen.memory)
        counts = totals.macs, totals.uncounted, integer_macs(made), mismatches(made)
        return Standing(made.plan.target, made.emitted.size, *counts, *emulated, made.bits)


def integer_macs(made: Made) -> int:
    """The multiplications of integers: as predicted, but for the nodes that were seen to run otherwise."""
    found = made.plan.totals.integer_macs
    nodes = {node.node: node for node in made.plan.nodes}
    for miss in made.seen.mismatches if made.seen is not None else ():
        node, runs = nodes[miss.node], miss.real.startswith("integer")
        found += (node.macs or 0) * (int(runs) - int(node.in_integers))
    return found


def otherwise(plan: Plan, found: Verification | NotHere) -> frozenset[str]:
    """The nodes that multiply something else than was planned, as far as anything told what runs: floats instead of
    integers, or integers instead of floats."""
    if isinstance(found, NotHere):
        return frozenset()
    planned = {node.node: node.in_integers for node in plan.nodes}
    return frozenset(miss.node for miss in found.mismatches if miss.real.startswith("integer") != planned[miss.node])


def mismatches(made: Made) -> int | None:
    """How many nodes run otherwise than predicted; None where nothing told what runs."""
    return len(made.seen.mismatches) if made.seen is not None and made.seen.kernels_read else None


@dataclass(frozen=True, slots=True)
class Measured:
    """How good the answers are, and what they cost; `pictures` are small JPEG files of samples, by name."""

    evaluations: tuple[Evaluation, ...] = ()
    profiles: tuple[Profile, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def foreseen(
    prepared: Prepared, plans: Sequence[Plan], diags: Diagnostics, *, needed: bool, allow_python: bool = False
) -> tuple[Expected, ...]:
    """What is to be evaluated, checked as far as that goes before anything is measured or written. Raises QdslError:
    evaluate-*, profile-batch, data-*, python-*."""
    asked = asking.all_wanted(prepared.recipe, [plan.target for plan in plans])
    asking.require_batch(prepared, asked.values())
    return evaluating.planned(prepared, diags, needed=needed, allow_python=allow_python)


def measured(
    prepared: Prepared,
    made: Sequence[Made],
    expected: Sequence[Expected],
    stage: Stage,
    diags: Diagnostics,
    told: Callable[[Evaluation | Profile], None],
) -> Measured:
    """The float model and what was made, on what is to be evaluated and profiled; `stage` gives who hears of it, and
    `told` hears each result."""
    built = {each.plan.target: each.emitted for each in made}
    evaluated = evaluating.evaluations(prepared, expected, built, stage("evaluate"), diags, told)
    diags.extend(guessing(expected, evaluated))
    evaluated, pictures = pictured(evaluated, expected)
    asked = asking.all_wanted(prepared.recipe, built)
    plans = {each.plan.target: each.plan for each in made}
    profiled = profiling.profiles(prepared, expected, built, asked, stage("profile"), diags, told, plans)
    return Measured(evaluated, profiled, pictures)


def pictured(
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


def budgets(prepared: Prepared, standing: Standing, found: Measured) -> tuple[Budget, ...]:
    """The budgets of one target, by what was measured for it."""
    readings: dict[Name, Reading] = {
        ("size", ()): Reading(float(standing.size), float(max(1, prepared.file_bytes))),
        **_multiplied(standing),
        **widths.readings(standing.bits, standing.macs, _told(standing.mismatches)),
        **emulating.readings(standing.emulated, standing.not_emulated, standing.memory),
    }
    block = _block(prepared, standing.target)
    readings |= profiling.readings(found.profiles, block)
    evaluated = evaluating.readings(found.evaluations, standing.target)
    return decide_budgets(prepared.recipe, block, Readings(readings, evaluated))


def _multiplied(standing: Standing) -> dict[Name, Reading]:
    """What is known of the multiplications: no figure of the whole where a part of it is not known."""
    if standing.uncounted:
        count = "1 node" if standing.uncounted == 1 else f"{standing.uncounted} nodes"
        unknown = Reading(math.nan, source=f"the multiplications of {count} are not known")
        return {("macs", ()): unknown, ("integer_share", ()): unknown}
    total = float(standing.macs)
    found: dict[Name, Reading] = {("macs", ()): Reading(total, total, source="from the graph")}
    if standing.macs:
        found["integer_share", ()] = _share(standing.integer_macs / total, standing.mismatches)
    return found


def _share(predicted: float, mismatches: int | None) -> Reading:
    """The share that runs in integers: unknown where nothing told what runs."""
    if mismatches is None:
        return Reading(math.nan, source=f"predicted {100 * predicted:.1f} %, not verified")
    return Reading(predicted, source=_seen(mismatches))


def _told(mismatches: int | None) -> str:
    """Who told what runs."""
    return "by the plan, not verified" if mismatches is None else _seen(mismatches)


def _seen(mismatches: int) -> str:
    if not mismatches:
        return "predicted, and verified"
    return f"as it runs, {mismatches} {'node' if mismatches == 1 else 'nodes'} otherwise than predicted"


def write(
    directory: Path,
    prepared: Prepared,
    made: Sequence[Made],
    found: Measured,
    decided: Sequence[Sequence[Budget]],
    lock: Path | None,
    causes: Mapping[str, Causes] | None = None,
    engines: Mapping[str, EngineCheck] | None = None,
) -> Measurements:
    """Writes `measurements.json` with its pictures, and returns what is in it; what was not measured is not. `causes`
    and `engines` are by target. Raises QdslError (artifact-write)."""
    known = _measurements(prepared, made, found, decided, lock, causes or {}, engines or {})
    publish(directory, known, found.pictures)
    return known


def publish(directory: Path, found: Measurements, pictures: Mapping[str, bytes]) -> None:
    """Write `measurements.json` and `pictures`, and take away pictures that it does not name. Raises QdslError
    (artifact-write)."""
    folder = directory / PICTURES
    for name, picture in pictures.items():
        write_bytes(folder / name, picture)
    write_text(directory / FILE, document(found))
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
    causes: Mapping[str, Causes],
    engines: Mapping[str, EngineCheck],
) -> Measurements:
    pairs = zip(made, decided, strict=True)
    return Measurements(
        recipe=prepared.recipe.name,
        recipe_sha256=recipe_hash(prepared.recipe),
        model=_model_facts(prepared, made[0].plan.totals if made else None),
        builds=tuple(
            replace(
                _build_facts(prepared, each, _block(prepared, each.plan.target), budgets),
                causes=causes.get(each.plan.target),
                engine=engines.get(each.plan.target),
            )
            for each, budgets in pairs
        ),
        evaluations=found.evaluations,
        profiles=found.profiles,
        pictures=hashes(found.pictures),
        environment=lasting(),
        lock=None if lock is None else LockFacts(lock.name, hashlib.sha256(lock.read_bytes()).hexdigest()),
    )


def _model_facts(prepared: Prepared, totals: Totals | None) -> ModelFacts:
    return ModelFacts(
        name=prepared.model.name,
        nodes=len(prepared.view.nodes),
        parameters=prepared.model.parameters,
        macs=totals.macs if totals is not None else 0,
        uncounted=totals.uncounted if totals is not None else 0,
        opset=prepared.view.opset,
        bytes=prepared.file_bytes,
        activations=peak_activations(prepared.view),
        files=model_files(prepared),
    )


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 of what the recipe decides about the artifacts: `evaluate`, `profile` and `require` are not in it."""
    parts = [(part.key, part.sha256) for part in meaning(recipe)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _activations(prepared: Prepared, plan: Plan) -> int | None:
    """What integer kernels write counts with its own width, what runs inside another kernel not at all. Not known of
    software that does not run here: which tensors it keeps, it decides when it builds."""
    if target_of(plan.target).runs_as():
        return None
    runs = {node.node: node.prediction.runs for node in plan.nodes}
    producer = {tensor.tensor: prepared.view.producer(tensor.tensor) for tensor in plan.tensors}
    bits = {
        tensor.tensor: tensor.scheme.dtype.bits
        for tensor in plan.tensors
        if (node := producer[tensor.tensor]) is not None and runs.get(node.name) in ("integer", "moves", "absorbed")
    }
    return peak_activations(prepared.view, bits=bits, fused=[name for name, how in runs.items() if how == "absorbed"])


def model_files(prepared: Prepared) -> dict[str, str]:
    """The float model's files by name, with their SHA-256. Raises QdslError `lock-moved` where one is no longer what
    was read: whatever ran the file itself may have seen another model."""
    prints = Fingerprints()
    found = dict(model_prints(prepared, prints))
    prints.require_unmoved()
    return found


def hashes(pictures: Mapping[str, bytes]) -> dict[str, str]:
    """The SHA-256 of each picture, by its name."""
    return {name: hashlib.sha256(picture).hexdigest() for name, picture in pictures.items()}


def _build_facts(prepared: Prepared, made: Made, block: Target, decided: Sequence[Budget]) -> BuildFacts:
    verified, seen = made.verification, made.seen
    return BuildFacts(
        target=made.plan.target,
        mode=made.plan.mode,
        device=block.device or "",
        bytes=made.emitted.size,
        files={file.name: file.sha256 for file in made.emitted.files},
        plan_sha256=plan_hash(made.plan),
        integer_macs=integer_macs(made),
        activations=_activations(prepared, made.plan),
        kernels=() if seen is None else tuple((each.kernel, each.predicted, each.real) for each in seen.kernels),
        mismatches=mismatches(made),
        source="" if seen is None else seen.source,
        outputs=() if seen is None else seen.outputs,
        layers=() if seen is None else seen.layers,
        budgets=budget_facts(decided),
        not_verified=verified.why if isinstance(verified, NotHere) else "",
        unordered={} if seen is None else dict(seen.unordered),
        emulated=None if seen is None else seen.emulated,
        not_emulated="" if seen is None else seen.not_emulated,
        arena=None if seen is None else seen.arena,
        memory=None if seen is None else seen.memory,
        macc=None if seen is None else seen.macc,
        widths=_emulated_widths(made.plan),
        activation_bits=made.bits.activation,
        bops=made.bits.operations,
    )


def _emulated_widths(plan: Plan) -> tuple[str, ...]:
    schemes = [*(weight.scheme for weight in plan.weights), *(tensor.scheme for tensor in plan.tensors)]
    return tuple(dict.fromkeys(scheme.width for scheme in schemes if scheme.emulated_bits))


def budget_facts(decided: Sequence[Budget]) -> tuple[BudgetFacts, ...]:
    """Budgets as they are written down."""
    plain = [{name: value for name, value in asdict(budget).items() if name != "span"} for budget in decided]
    return tuple(BudgetFacts(**each) for each in plain)


def _block(prepared: Prepared, target: str) -> Target:
    return next(block for block in prepared.recipe.targets if block.name == target)
