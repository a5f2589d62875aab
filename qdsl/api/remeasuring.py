"""`evaluate` and `profile`: measure a build that is there again. Nothing is calibrated, and no artifact is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.api.compiling import DEFAULT_OUT
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Span
from qdsl.harness import Evaluation, reading
from qdsl.harness.measurements import FILE, BuildFacts, Measurements
from qdsl.harness.profiles import Profile
from qdsl.measure import asking, evaluating, measuring, profiling
from qdsl.measure.budgets import Budget
from qdsl.measure.doubts import guessing
from qdsl.measure.engine_checking import surviving
from qdsl.measure.events import Event, Listener, silent
from qdsl.measure.measuring import Measured, Standing
from qdsl.measure.pages import write_page
from qdsl.predict.bits import Bits
from qdsl.report.data import plans_of
from qdsl.targets.results import MANIFEST_FILE, Emitted, EmittedFile
from qdsl.work.occupying import occupied
from qdsl.work.prepared import Prepared, prepare, read


@dataclass(frozen=True, slots=True)
class MeasureResult:
    """What is known of a build now, what was measured before included. `budgets` are by target; `holds` is False when a
    `require` is broken. `report` is the page, made anew."""

    recipe: str
    directory: Path
    evaluations: tuple[Evaluation, ...]
    profiles: tuple[Profile, ...]
    budgets: Mapping[str, tuple[Budget, ...]]
    diagnostics: tuple[Diagnostic, ...]
    report: Path

    @property
    def holds(self) -> bool:
        return all(budget.verdict != "broken" for found in self.budgets.values() for budget in found)

    @property
    def undecided(self) -> tuple[Budget, ...]:
        return tuple(b for found in self.budgets.values() for b in found if b.verdict == "undecided")


@dataclass(frozen=True, slots=True)
class _Job:
    """A build, and what its recipe says now."""

    prepared: Prepared
    directory: Path
    found: Measurements
    built: Mapping[str, Emitted]
    tell: Listener
    diags: Diagnostics

    def stage(self, name: str) -> Callable[[str, int, int], None]:
        return lambda text, done, total: self.tell(Event(name, text, done, total))

    def known(self, found: Evaluation | Profile) -> None:
        """Tell a result."""
        self.tell(Event("evaluate" if isinstance(found, Evaluation) else "profile", "", found=found))

    def alone(self) -> AbstractContextManager[None]:
        return occupied(self.directory, lambda text: self.tell(Event("wait", text)))


def evaluate(
    path: str | Path,
    *,
    out: str | Path = DEFAULT_OUT,
    sets: Mapping[str, str] | None = None,
    listener: Listener | None = None,
    allow_python: bool = False,
) -> MeasureResult:
    """Carry the `evaluate` statements of a recipe out on the build in `<out>/<recipe>/`, and decide its budgets anew.

    `measurements.json`, the pictures and the report there are written anew; what was profiled stays. Raises QdslError:
    measurements-missing where there is no build, measurements-other where it is of another recipe or model,
    evaluate-nothing, and what `compile` raises for data and tasks.
    """
    job = _opened(path, out, sets, listener)
    expected = evaluating.planned(job.prepared, job.diags, needed=True, allow_python=allow_python)
    if not expected:
        headline = f"recipe {job.prepared.recipe.name} has no `evaluate` statement"
        raise QdslError([Diagnostic("evaluate-nothing", headline, job.prepared.recipe.span)])
    with job.alone():
        evaluated = evaluating.evaluations(
            job.prepared, expected, job.built, job.stage("evaluate"), job.diags, job.known
        )
        job.diags.extend(guessing(expected, evaluated))
        told, pictures = measuring.pictured(evaluated, expected)
        job = replace(job, found=replace(job.found, pictures=measuring.hashes(pictures)))
        for each in job.found.profiles:
            job.known(each)
        return _written(job, Measured(told, job.found.profiles, pictures))


def profile(
    path: str | Path,
    *,
    out: str | Path = DEFAULT_OUT,
    sets: Mapping[str, str] | None = None,
    settings: Mapping[str, int] | None = None,
    listener: Listener | None = None,
) -> MeasureResult:
    """Time the build in `<out>/<recipe>/` on this machine, as its recipe says or by default, and decide its budgets
    anew. `settings` (runs, warmup, batch, threads) stand before those of the recipe.

    `measurements.json` and the report there are written anew; what was evaluated stays, and the profile of a target
    that cannot be profiled now: the one that decides budgets, and the other, each by itself. Raises QdslError as
    `evaluate` does, and profile-batch.
    """
    job = _opened(path, out, sets, listener)
    asked = asking.forced(job.prepared.recipe, job.built, settings or {})
    asking.require_batch(job.prepared, asked.values())
    expected = evaluating.planned(job.prepared, job.diags, needed=False)
    with job.alone():
        for evaluation in job.found.evaluations:
            job.known(evaluation)
        for build in job.found.builds:  # what its C did on an emulated core does not change
            if build.emulated is not None:
                job.tell(Event("profile", f"C of {build.target}", found=build.emulated))
        heard = job.stage("profile")
        plans = plans_of(job.directory, job.found)
        profiled = profiling.profiles(job.prepared, expected, job.built, asked, heard, job.diags, job.known, plans)
        anew = {(each.target, each.decides) for each in profiled}
        kept = [each for each in job.found.profiles if (each.target, each.decides) not in anew]
        for each in kept:
            job.known(each)
        return _written(job, Measured(job.found.evaluations, (*profiled, *kept)))


def _opened(path: str | Path, out: str | Path, sets: Mapping[str, str] | None, listener: Listener | None) -> _Job:
    """The build of a recipe, which must be that of the recipe and the model as they are now."""
    diags = Diagnostics()
    loaded = read(path, sets)
    diags.extend(loaded.diagnostics)
    prepared = prepare(loaded)
    directory = Path(out) / prepared.recipe.name
    try:
        found = reading.read(directory / FILE)
    except QdslError as error:
        help = (f"make it first: qdsl compile {path}",)
        raise QdslError([replace(each, help=(*each.help, *help)) for each in error.diagnostics]) from None
    reading.require_same(directory, found)
    _require_current(path, directory, prepared, found)
    built = {build.target: _emitted(directory, build, prepared.model.span) for build in found.builds}
    return _Job(prepared, directory, found, built, listener or silent, diags)


def _require_current(path: str | Path, directory: Path, prepared: Prepared, found: Measurements) -> None:
    """Raises QdslError measurements-other where the build is of another model, or of decisions that the recipe no
    longer makes; what `evaluate`, `profile` and `require` say may have changed."""
    other = ""
    if measuring.model_files(prepared) != dict(found.model.files):
        other = "the model"
    elif measuring.recipe_hash(prepared.recipe) != found.recipe_sha256:
        other = "what the recipe decides"
    if other:
        headline = f"`{directory}` was built before {other} changed"
        help = (f"compile it again: qdsl compile {path}",)
        raise QdslError([Diagnostic("measurements-other", headline, prepared.recipe.span, help=help)])


def _emitted(directory: Path, build: BuildFacts, span: Span | None) -> Emitted:
    """What runs the artifact: its files, as `measurements.json` knows them. Raises QdslError measurements-missing."""
    folder = directory / build.target
    names = list(build.files)
    absent = [name for name in (*names, MANIFEST_FILE) if not (folder / name).is_file()]
    if absent or not names:
        headline = f"there is no `{folder / (absent or ['model.onnx'])[0]}`"
        raise QdslError([Diagnostic("measurements-missing", headline)])
    files = tuple(EmittedFile(name, (folder / name).stat().st_size, build.files[name]) for name in names)
    return Emitted(directory=folder, model=folder / names[0], manifest=folder / MANIFEST_FILE, files=files, span=span)


def _written(job: _Job, measured: Measured) -> MeasureResult:
    """Decide the budgets, write down what is known now, and make the page."""
    budgets: dict[str, tuple[Budget, ...]] = {}
    builds: list[BuildFacts] = []
    for build in job.found.builds:
        model = job.found.model
        counts = model.macs, model.uncounted, build.integer_macs, build.mismatches
        bits = Bits(build.activation_bits, build.bops)
        emulated = build.emulated, build.not_emulated, build.memory
        standing = Standing(build.target, build.bytes, *counts, *emulated, bits)
        known = measuring.budgets(job.prepared, standing, measured)
        decided = tuple(surviving(each, build.engine, build.device) for each in known)
        budgets[build.target] = decided
        builds.append(replace(build, budgets=measuring.budget_facts(decided)))
    kept = replace(job.found, builds=tuple(builds), evaluations=measured.evaluations, profiles=measured.profiles)
    measuring.publish(job.directory, kept, measured.pictures)
    job.tell(Event("require", "", found=kept))
    made_page = write_page([job.directory])
    job.diags.extend(made_page.warnings)
    return MeasureResult(
        recipe=job.prepared.recipe.name,
        directory=job.directory,
        evaluations=measured.evaluations,
        profiles=measured.profiles,
        budgets=budgets,
        diagnostics=job.diags.sorted(),
        report=made_page.path,
    )
