"""`compile`: calibrate, rewrite, emit, verify. Does exactly what the plan says, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic
from qdsl.harness import Evaluation
from qdsl.harness.checks import Check
from qdsl.harness.engine_checks import EngineCheck
from qdsl.harness.measurements import Measurements
from qdsl.harness.profiles import Profile
from qdsl.measure.budgets import Budget
from qdsl.measure.building import TargetBuilt
from qdsl.measure.checking import faults
from qdsl.measure.events import Listener, silent
from qdsl.ranges.locking import Wish
from qdsl.spec.plan import Plan
from qdsl.steps import judging, making, opening, ranging
from qdsl.steps.job import Effort, Job, Wishes
from qdsl.targets.results import Emitted, NotHere, Verification

DEFAULT_OUT = "build"

# Everything that compiling does, in order. Each says what it needs and what it leaves; none is left out, and one that
# has nothing to do leaves that.
STEPS: tuple[Callable[[Job], None], ...] = (
    opening.require,
    opening.read,
    opening.prepare,
    opening.plan,
    opening.check,
    opening.open_data,
    opening.foresee,
    ranging.occupy,
    ranging.recall,
    ranging.calibrate,
    ranging.allocate,
    ranging.choose,
    ranging.round_weights,
    making.emit,
    making.find,
    making.write,
    making.lock,
    judging.evaluate,
    judging.bundle,
    judging.emulate,
    judging.examine,
    judging.trace,
    judging.judge,
    judging.advise,
    judging.build,
    judging.report,
)


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What came out for one target: the plan, the files, the comparison with the float model (`NotHere` where its
    artifacts do not run on this machine), the budgets, and the ranges that it was made with."""

    target: str
    plan: Plan
    emitted: Emitted
    verification: Verification | NotHere
    budgets: tuple[Budget, ...]
    ranges: Ranges


@dataclass(frozen=True)
class CompileResult:
    """`directory` is `<out>/<recipe>`; `ranges` what calibration measured, the widest where targets
    differ (each has its own in `targets`); `diagnostics` warnings; `holds` is False
    when a `require` is broken (an undecided one does not count as passed, but breaks nothing). `lock` is the lock
    beside the recipe, None where none was used or written; `from_lock` says that it gave the ranges. `evaluations` are
    the recipe's `evaluate` statements, carried out, `profiles` what each target was found to cost on this machine; none
    where that was not wanted, or their data is not there. `checks` are what the artifacts compute on other processors,
    emulated, `engines` what engines of them that were built here compute. `built` is what devices run, made here, and
    `settled` the measurements with the budgets that it decides. `measurements` is what `measurements.json` says,
    `report` the page that shows all of it."""

    recipe: str
    directory: Path
    targets: tuple[TargetResult, ...]
    ranges: Ranges
    diagnostics: tuple[Diagnostic, ...]
    measurements: Measurements
    report: Path
    lock: Path | None = None
    from_lock: bool = False
    evaluations: tuple[Evaluation, ...] = ()
    profiles: tuple[Profile, ...] = ()
    checks: tuple[Check, ...] = ()
    engines: tuple[EngineCheck, ...] = ()
    built: tuple[TargetBuilt, ...] = ()
    settled: Measurements | None = None

    @property
    def computes(self) -> bool:
        """Whether the artifacts compute what their graphs say on every processor that was asked for."""
        return not faults(self.checks)

    @property
    def survives(self) -> bool:
        """Whether everything planned in integers is known to compute in them, in every engine that was asked for."""
        return all(each.passes for each in self.engines)

    @property
    def holds(self) -> bool:
        if any(budget.verdict == "broken" for target in self.targets for budget in target.budgets):
            return False
        later = self.settled.builds if self.settled is not None else ()
        return all(budget.verdict != "broken" for build in later for budget in build.budgets)

    @property
    def as_verified(self) -> bool:
        """Every artifact was seen to run in the kernels that the plan says, and these compute what its file says."""
        found = [target.verification for target in self.targets]
        return all(not isinstance(each, NotHere) and each.as_predicted and each.exact for each in found)

    @property
    def undecided(self) -> tuple[Budget, ...]:
        later = self.settled.builds if self.settled is not None else ()
        known = {(build.target, b.text) for build in later for b in build.budgets if b.verdict != "undecided"}
        found = ((target.target, b) for target in self.targets for b in target.budgets if b.verdict == "undecided")
        return tuple(budget for target, budget in found if (target, budget.text) not in known)


def compile(
    path: str | Path,
    *,
    out: str | Path = DEFAULT_OUT,
    target: str | None = None,
    sets: Mapping[str, str] | None = None,
    workers: int | None = None,
    batch: int | None = None,
    listener: Listener | None = None,
    locked: bool = False,
    update: bool = False,
    lock: bool = True,
    measure: bool = True,
    shards: int = 1,
    engine: str = "local",
    on: Sequence[str] = (),
    allow_python: bool = False,
    provenance: str = "text",
    causes: bool = False,
    check: str | None = None,
    capability: str | None = None,
    build: bool = False,
) -> CompileResult:
    """Carry a recipe out: plan, calibrate, rewrite, emit to `<out>/<recipe>/<target>/`, verify, evaluate and profile.

    `workers` calibration threads take `batch` samples at a time (None: chosen by the machine); neither changes a byte
    of what is written. `listener` hears what happens. Raises QdslError with every error found before any file is
    written; a broken `require` raises nothing: see `CompileResult.holds`.

    A fresh `<recipe>.lock` beside the recipe gives the ranges, a stale one is refused (`lock-stale`), and where there
    is none one is written. `update` measures anew and rewrites it; `locked` needs the lock and no data; `lock=False`
    neither reads nor writes one. `measure=False` leaves out what `evaluate` and `profile` say.

    `shards` processes of this machine, or of the Ray cluster where `engine` is "ray", calibrate at a time: the same
    bytes come out. `on` are processors as which the artifacts are checked under emulation, as `verify` does it; what is
    missing for that is raised first (cpu-unknown, emulator-absent). `allow_python` lets code that the recipe names run
    (`decode python`). `provenance` is what the emitted file carries of where it comes from: the recipe's `text` beside
    the hashes and versions, `hashes` alone, or `none`. With `causes`, the measurements and the page say which tensors
    the error of each artifact comes from, and what would help.

    `check="rtx"` has TensorRT-RTX build an engine of the artifact for `tensorrt`, without a GPU, for a GPU of a compute
    `capability` ("sm86" where it is None), and holds what each node computes in there against the plan; it decides
    `require qdq survives` where the target names no device. engine-choice, engine-target, rtx-capability and rtx-absent
    are raised first. With `build`, what devices run is made of the artifacts here and timed, where that can be done (an
    engine, of TensorRT and a GPU), and taken in as `report --add` does; else `CompileResult.built` says how to get it.
    Raises ValueError for wishes that contradict, and for less than one worker, sample or shard.
    """
    lock_wish, effort = Wish(lock=lock, locked=locked, update=update), Effort(workers, batch, shards, engine)
    wishes = Wishes(
        Path(path),
        Path(out),
        target,
        sets or {},
        lock_wish,
        effort,
        measure,
        on,
        allow_python,
        provenance,
        causes,
        check,
        capability,
        build,
    )
    with Job(wishes, listener or silent) as job:
        for step in STEPS:
            step(job)
        return _result(job)


def _result(job: Job) -> CompileResult:
    results = tuple(
        TargetResult(
            each.plan.target, each.plan, each.emitted, each.verification, budgets, job.ranges.of(each.plan.target)
        )
        for each, budgets in zip(job.made, job.budgets, strict=True)
    )
    return CompileResult(
        recipe=job.loaded.recipe.name,
        directory=job.directory,
        targets=results,
        ranges=job.ranges.together(),
        diagnostics=job.diags.sorted(),
        measurements=job.measurements,
        report=job.page,
        lock=job.pinned.used,
        from_lock=job.recalled is not None,
        evaluations=job.figures.evaluations,
        profiles=job.figures.profiles,
        checks=job.checks,
        engines=tuple(job.engines.values()),
        built=job.built,
        settled=job.settled,
    )
