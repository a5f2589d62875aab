"""`compile`: calibrate, rewrite, emit, verify. Does exactly what the plan says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from qdsl import data
from qdsl.advice import advice
from qdsl.advice.trying import Bench
from qdsl.api import verifying
from qdsl.api.reporting import report as make_report
from qdsl.calibrate import Ranges
from qdsl.calibrate.session import require_loads
from qdsl.data import Dataset
from qdsl.describe.render import choice_words, totals
from qdsl.diag import Diagnostic, Diagnostics, Span
from qdsl.findings.arithmetic import arithmetic_findings
from qdsl.findings.as_it_runs import as_it_runs
from qdsl.findings.findings import findings
from qdsl.findings.foreign_scales import unread_scales
from qdsl.findings.foreign_sums import inexact_sums
from qdsl.findings.loadable import require_loadable
from qdsl.graph.finite import require_finite
from qdsl.harness import Evaluation, emulators
from qdsl.harness.checks import Check
from qdsl.harness.measurements import RECIPE, Measurements
from qdsl.harness.profiles import Profile
from qdsl.harness.tasks import Expected
from qdsl.lang import Loaded
from qdsl.lock import LockedChoice
from qdsl.measure import bundling, comparing, measuring
from qdsl.measure.budgets import Budget
from qdsl.measure.events import Event, Listener, silent
from qdsl.measure.measuring import Made, Measured, Standing
from qdsl.plan import Decisions, gate
from qdsl.plan.gate import find_target
from qdsl.ranges.calibrating import Calibrator, here, measure, named, requests
from qdsl.ranges.correcting import measure_means
from qdsl.ranges.cut_ranges import cut_note, cut_ranges
from qdsl.ranges.locking import Pinned, Wish
from qdsl.ranges.sharding import Shards
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import plans_json
from qdsl.spec.words import count, mebibytes, plain, times_smaller
from qdsl.targets import target_of
from qdsl.targets.results import Emitted, NotHere, Verification
from qdsl.tune import tuning
from qdsl.tune.choices import recall
from qdsl.work.deciding import decide_all
from qdsl.work.engines import engine as engine_for
from qdsl.work.occupying import occupied
from qdsl.work.prepared import Prepared, prepare, read, takes
from qdsl.work.writing import aside, recipe_text, require_place, write_text

DEFAULT_OUT = "build"
VERIFY_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What came out for one target: the plan, the files, the comparison with the float model (`NotHere` where its
    artifacts do not run on this machine), and the budgets."""

    target: str
    plan: Plan
    emitted: Emitted
    verification: Verification | NotHere
    budgets: tuple[Budget, ...]


@dataclass(frozen=True)
class CompileResult:
    """`directory` is `<out>/<recipe>`; `ranges` what calibration measured; `diagnostics` warnings; `holds` is False
    when a `require` is broken (an undecided one does not count as passed, but breaks nothing). `lock` is the lock
    beside the recipe, None where none was used or written; `from_lock` says that it gave the ranges. `evaluations` are
    the recipe's `evaluate` statements, carried out, `profiles` what each target was found to cost on this machine; none
    where that was not wanted, or their data is not there. `checks` are what the artifacts compute on other processors,
    emulated. `measurements` is what `measurements.json` says, `report` the page that shows all of it."""

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

    @property
    def computes(self) -> bool:
        """Whether the artifacts compute what their graphs say on every processor that was asked for."""
        return not verifying.findings(self.checks)

    @property
    def holds(self) -> bool:
        return all(budget.verdict != "broken" for target in self.targets for budget in target.budgets)

    @property
    def as_verified(self) -> bool:
        """Every artifact was seen to run in the kernels that the plan says, and these compute what its file says."""
        found = [target.verification for target in self.targets]
        return all(not isinstance(each, NotHere) and each.as_predicted and each.exact for each in found)

    @property
    def undecided(self) -> tuple[Budget, ...]:
        return tuple(b for target in self.targets for b in target.budgets if b.verdict == "undecided")


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
    (`decode python`). Raises ValueError for wishes that contradict, and for less than one worker, sample or shard.
    """
    wish = Wish(lock=lock, locked=locked, update=update)
    _require_counts(workers=workers, batch=batch, shards=shards)
    by = _calibrator(shards, engine, Path(path), sets or {}, target)
    processors = emulators.cpus(on)
    emulators.require(processors)
    tell = listener or silent
    diags = Diagnostics()
    loaded = _passed(read(path, sets), target, diags)
    pinned = Pinned(loaded.recipe, wish, target)
    prepared = prepare(loaded)
    diags.extend(prepared.warnings)
    decisions = tuple(as_it_runs(prepared, each) for each in decide_all(prepared, target, diags))
    require_loadable(prepared, decisions, sets)
    plans = [decided.plan for decided in decisions]
    require_finite(prepared.model)
    require_loads(prepared.model)
    tell(Event("model", _model_line(prepared)))
    datasets = _open(prepared, plans, pinned, diags)
    expected = (
        measuring.foreseen(prepared, plans, diags, needed=not locked, allow_python=allow_python) if measure else ()
    )
    job = _Job(prepared, pinned, Path(out) / prepared.recipe.name, plans, tell, diags)
    _require_places(plans, job.directory)
    with occupied(job.directory, lambda text: tell(Event("wait", text))):
        known = pinned.ranges(prepared, plans, datasets, diags)
        if known is None:
            found = _calibrated(job, decisions, datasets, workers, batch, by)
        else:
            datasets = pinned.readable(datasets)
            found = _recalled(job, decisions, known)
        return _carried_out(
            job, found, datasets, expected if measure else None, processors, sets or {}, known is not None
        )


def _carried_out(
    job: _Job,
    found: _Found,
    datasets: Mapping[str, Dataset],
    expected: Sequence[Expected] | None,
    processors: Sequence[emulators.Cpu],
    sets: Mapping[str, str],
    from_lock: bool,
) -> CompileResult:
    """Emit, compare, measure and write down; `expected` is what to evaluate, None for no measuring."""
    prepared, pinned, tell, diags = job.prepared, job.pinned, job.tell, job.diags
    ranges, decisions = found.ranges, found.decisions
    diags.extend(cut_note(decisions, found.measured, ranges))
    made = tuple(_made(job, each.plan, ranges, datasets) for each in decisions)
    diags.extend(findings(prepared, decisions, ranges, next(iter(datasets.values()), None), sets))
    for each in made:
        if each.seen is not None:
            diags.extend(arithmetic_findings(each.plan, each.seen, _asked(prepared, each.plan.target)))
    for one in decisions:
        diags.extend(inexact_sums(prepared, one))
        diags.extend(unread_scales(prepared, one))
    write_text(job.directory / "plan.json", plans_json([decided.plan for decided in decisions]))
    write_text(job.directory / "ranges.json", ranges.to_json())
    write_text(job.directory / RECIPE, recipe_text(prepared.recipe))
    if told := pinned.write(found.measured, job.plans, found.tuned):
        tell(Event("lock", told))
    heard = job.stage, diags, job.result
    measured = Measured() if expected is None else measuring.measured(prepared, made, expected, *heard)
    _bundle(prepared, made, expected)
    checks = verifying.on_processors(prepared, made, processors, tell)
    diags.extend(verifying.findings(checks))
    budgets = [measuring.budgets(prepared, Standing.of(each), measured) for each in made]
    facts = measuring.write(job.directory, prepared, made, measured, budgets, pinned.used)
    tell(Event("require", "", found=facts))
    builds = [advice.Build(e.plan, e.verification, b) for e, b in zip(made, budgets, strict=True)]
    bench = Bench(prepared, sets, found.measured, datasets, expected or (), job.stage("try"))
    diags.extend(advice.advice(bench, builds))
    made_page = make_report(job.directory)
    diags.extend(made_page.diagnostics)
    results = tuple(
        TargetResult(each.plan.target, each.plan, each.emitted, each.verification, decided)
        for each, decided in zip(made, budgets, strict=True)
    )
    return CompileResult(
        recipe=prepared.recipe.name,
        directory=job.directory,
        targets=results,
        ranges=ranges,
        diagnostics=diags.sorted(),
        measurements=facts,
        report=made_page.path,
        lock=pinned.used,
        from_lock=from_lock,
        evaluations=measured.evaluations,
        profiles=measured.profiles,
        checks=checks,
    )


def _asked(prepared: Prepared, target: str) -> Span:
    """The line that asked for the artifact of `target`."""
    block, mode = find_target(prepared.recipe, target), prepared.recipe.mode
    return block.span if block is not None else mode.span if mode is not None else prepared.recipe.span


@dataclass(frozen=True, slots=True)
class _Job:
    """What one compilation works on: its artifacts go below `directory`. `plans` are those before any measurement."""

    prepared: Prepared
    pinned: Pinned
    directory: Path
    plans: list[Plan]
    tell: Listener
    diags: Diagnostics

    def stage(self, name: str) -> Callable[[str, int, int], None]:
        """Who hears of the progress of one stage."""
        return lambda text, done, total: self.tell(Event(name, text, done, total))

    def result(self, found: Evaluation | Profile) -> None:
        """Tell what came out, as soon as it is known."""
        self.tell(Event("evaluate" if isinstance(found, Evaluation) else "profile", "", found=found))


class _Found(NamedTuple):
    """Ranges as measured and as cut, the decisions under what they choose, and new choices for the lock."""

    measured: Ranges
    ranges: Ranges
    decisions: tuple[Decisions, ...]
    tuned: list[LockedChoice]


def _passed(loaded: Loaded, target: str | None, diags: Diagnostics) -> Loaded:
    """The recipe, unless it asks the targets for what is not carried out. Raises QdslError."""
    diags.extend(loaded.diagnostics)
    for each in loaded.recipe.targets:
        diags.extend(gate(loaded.recipe, each.name) if target in (None, each.name) else ())
    diags.raise_errors()
    return loaded


def _calibrated(
    job: _Job,
    decisions: Sequence[Decisions],
    datasets: Mapping[str, Dataset],
    workers: int | None,
    batch: int | None,
    by: Calibrator,
) -> _Found:
    """Ranges and means from the data, then the decisions under what measurements choose, with those choices."""

    def heard(text: str, done: int, total: int, rate: float) -> None:
        job.tell(Event("calibrate", text, done, total, rate))

    plans = [decided.plan for decided in decisions]
    ranges = measure(
        job.prepared, plans, datasets, job.directory, heard, job.diags, workers=workers, batch=batch, by=by
    )
    ranges = replace(ranges, means=measure_means(job.prepared, plans, datasets, heard))
    job.pinned.require_unmoved()
    measured = named(ranges, plans)
    ranges = cut_ranges(job.prepared, decisions, measured)
    return _Found(measured, ranges, *_choose(job.prepared, decisions, ranges, datasets, job.tell))


def _recalled(job: _Job, decisions: Sequence[Decisions], known: Ranges) -> _Found:
    """The ranges of the lock, and the decisions under its choices: there is none to add."""
    job.tell(Event("lock", f"{count(len(known.low), 'range')} from {job.pinned.path.name}, nothing to calibrate"))
    measured = named(known, [decided.plan for decided in decisions])
    ranges = cut_ranges(job.prepared, decisions, measured)
    return _Found(measured, ranges, tuple(recall(job.prepared, each, job.pinned.choices) for each in decisions), [])


def _calibrator(shards: int, engine: str, path: Path, sets: Mapping[str, str], target: str | None) -> Calibrator:
    """Who calibrates: this process, or shards by an engine, which has to be known even where it has nothing to do.
    Raises QdslError sweep-engine."""
    run = engine_for(engine, shards)
    return here if shards == 1 else Shards(shards, run, str(path), sets, target).calibrate


def _bundle(prepared: Prepared, made: Sequence[Made], expected: Sequence[Expected] | None) -> None:
    """A bundle beside each artifact; None for no measuring, when that of an earlier build goes."""
    for each in made:
        if expected is None:
            bundling.remove(each)
        else:
            bundling.bundle(prepared, each, expected)


def _require_counts(**counts: int | None) -> None:
    for name, given in counts.items():
        if given is not None and (not isinstance(given, int) or given < 1):
            raise ValueError(f"`{name}` is {given!r}: expected None or a whole number from 1")


def _choose(
    prepared: Prepared,
    decisions: Sequence[Decisions],
    ranges: Ranges,
    datasets: Mapping[str, Dataset],
    tell: Listener,
) -> tuple[tuple[Decisions, ...], list[LockedChoice]]:
    """The plans under what measurements choose, and those choices for the lock."""

    def heard(text: str, done: int, total: int) -> None:
        tell(Event("tune", text, done, total))

    found = [tuning.choose(prepared, each, ranges, datasets, heard) for each in decisions]
    return tuple(one.decisions for one in found), [choice for one in found for choice in one.choices]


def _require_places(plans: list[Plan], directory: Path) -> None:
    """Raise what would stop writing the artifacts, before anything is measured for them."""
    require_place(directory)
    for plan in plans:
        require_place(directory / plan.target)


def _model_line(prepared: Prepared) -> str:
    number = prepared.model.parameters
    parameters = (
        f"{number / 1e6:.2f} M parameters" if number >= 1e5 else f"{number:,} parameter{'' if number == 1 else 's'}"
    )
    return (
        f"{plain(prepared.model.name)}   {count(len(prepared.view.nodes), 'node')}, {parameters}, "
        f"{mebibytes(prepared.file_bytes)}, opset {prepared.view.opset}"
    )


def _open(prepared: Prepared, plans: list[Plan], pinned: Pinned, diags: Diagnostics) -> dict[str, Dataset]:
    """Every dataset that calibration needs; what is wrong with any of them is raised at once."""
    recipe, wanted = prepared.recipe, takes(prepared)

    def opened(name: str) -> Dataset:
        statement = recipe.dataset(name)
        found = data.open(statement, recipe.inputs, wanted, diags)
        if not pinned.wish.locked:
            data.look(found, statement)
        return found

    names = dict.fromkeys(requests(plans))
    if recipe.tune is not None and recipe.tune.data is not None:
        names[recipe.tune.data] = None
    return pinned.open(list(names), opened, diags)


def _made(job: _Job, plan: Plan, ranges: Ranges, datasets: Mapping[str, Dataset]) -> Made:
    """Emit and verify for one target: aside, so that what the runtime refuses never stands where a build does."""
    target, prepared, directory = target_of(plan.target), job.prepared, job.directory / plan.target
    job.tell(Event("rewrite", totals(plan)))
    for choice in plan.choices:
        job.tell(Event("tuned", plain(choice_words(choice, plan.recipe))))
    with aside(directory) as folder:
        emitted = target.emit(prepared.model, plan, ranges, folder, inputs=prepared.recipe.inputs)
        verification = comparing.verified(target, prepared, emitted, plan, datasets, VERIFY_SAMPLES)
        emitted = target.publish(emitted, directory)
    job.diags.extend(comparing.uncompared(prepared, plan, verification))
    made = Made(plan, emitted, verification)
    job.tell(Event(plan.target, _emitted_line(emitted, prepared.file_bytes), found=made))
    return made


def _emitted_line(emitted: Emitted, float_bytes: int) -> str:
    return f"{plain(str(emitted.model))}   {mebibytes(emitted.size)}, {times_smaller(float_bytes, emitted.size)}"
