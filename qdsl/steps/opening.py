"""Steps before anything is measured or written: what the recipe asks for is known, decided, and there."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl import data
from qdsl.allocate.bounds import require_sound
from qdsl.allocate.observing import observed
from qdsl.allocate.possible import require_possible
from qdsl.calibrate.session import require_loads
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.engines.asked import TARGET, examination
from qdsl.findings.as_it_runs import as_it_runs
from qdsl.findings.loadable import require_loadable
from qdsl.graph.finite import require_finite
from qdsl.harness import emulators
from qdsl.lang.recipe import Recipe
from qdsl.measure import measuring
from qdsl.measure.events import Event
from qdsl.plan import gate
from qdsl.ranges.calibrating import by_dataset, here
from qdsl.ranges.locking import Pinned
from qdsl.ranges.sharding import Shards
from qdsl.spec.words import count, mebibytes, plain
from qdsl.steps.job import Job
from qdsl.work import prepared
from qdsl.work.deciding import decide_all
from qdsl.work.engines import engine
from qdsl.work.equalizing import equalized_pairs
from qdsl.work.prepared import Prepared, takes


def require(job: Job) -> None:
    """Who calibrates (this process, or shards by an engine), the processors to emulate, and who builds engines. All
    have to be there even where nothing will be left for them to do: nobody waits for hours to hear that one is missing.

    Leaves `calibrator`, `processors`, `examination`. Raises QdslError sweep-engine, cpu-unknown, emulator-absent,
    engine-choice, rtx-capability, rtx-absent.
    """
    wishes, effort = job.wishes, job.wishes.effort
    run = engine(effort.engine, effort.shards)
    shards = Shards(effort.shards, run, str(wishes.path), wishes.sets, wishes.target)
    job.calibrator = here if effort.shards == 1 else shards.calibrate
    job.processors = emulators.cpus(wishes.on)
    emulators.require(job.processors)
    job.examination = None if wishes.check is None else examination(wishes.check, wishes.capability)


def read(job: Job) -> None:
    """The recipe, unless it asks its targets for what is not carried out, and the lock beside it.

    Needs `examination`; leaves `loaded`, `pinned`. Raises QdslError: what is wrong with the recipe, not-yet, lock-*,
    engine-target where engines are asked for and no target has any.
    """
    loaded, target = prepared.read(job.wishes.path, job.wishes.sets), job.wishes.target
    job.diags.extend(loaded.diagnostics)
    checked = job.examination is not None
    for each in loaded.recipe.targets:
        job.diags.extend(gate(loaded.recipe, each.name, checked=checked) if target in (None, each.name) else ())
    job.diags.extend(require_sound(loaded.recipe))
    job.diags.raise_errors()
    if checked and TARGET not in _compiled(loaded.recipe, target):
        help = (f"compile a recipe with `target {TARGET}`, or leave `--check` out",)
        raise QdslError([Diagnostic("engine-target", "no target of this compilation has engines", help=help)])
    job.loaded = loaded
    job.pinned = Pinned(loaded.recipe, job.wishes.lock, target)


def _compiled(recipe: Recipe, target: str | None) -> list[str]:
    return [each.name for each in recipe.targets if target in (None, each.name)]


def prepare(job: Job) -> None:
    """The model in canonical form.

    Needs `loaded`; leaves `prepared`. Raises QdslError: model-*, input-unknown.
    """
    job.prepared = prepared.prepare(job.loaded)
    job.diags.extend(job.prepared.warnings)


def plan(job: Job) -> None:
    """What every target is to do, which its software would load.

    Needs `prepared`; leaves `planned`, `observed`. Raises QdslError with what cannot be planned for any of them.
    """
    decided = decide_all(job.prepared, job.wishes.target, job.diags)
    job.planned = tuple(as_it_runs(job.prepared, each) for each in decided)
    require_loadable(job.prepared, job.planned, job.wishes.sets)
    require_possible(job.prepared, job.planned, Diagnostics())  # the search tells the rest
    job.observed = tuple(observed(job.prepared, each) for each in job.planned)


def check(job: Job) -> None:
    """Weights are finite, and ONNX Runtime loads the model.

    Needs `prepared`. Raises QdslError model-non-finite, calibration-load.
    """
    require_finite(job.prepared.model)
    require_loads(job.prepared.model)
    job.tell(Event("model", _model_words(job.prepared)))
    pairs = equalized_pairs(job.prepared.trace)
    if pairs:
        job.tell(Event("equalize", count(pairs, "pair")))


def open_data(job: Job) -> None:
    """Every dataset that calibration needs; what is wrong with any of them is raised at once.

    Needs `loaded`, `pinned`, `prepared`, `observed`; leaves `opened`. Raises QdslError data-*, image-*, input-*; under
    `--locked` what is not there is told.
    """
    recipe, wanted = job.loaded.recipe, takes(job.prepared)

    def opened(name: str) -> Dataset:
        statement = recipe.dataset(name)
        found = data.open(statement, recipe.inputs, wanted, job.diags)
        if not job.wishes.lock.locked:
            data.look(found, statement)
        return found

    names = dict.fromkeys(by_dataset(job.plans))
    if recipe.tune is not None and recipe.tune.data is not None:
        names[recipe.tune.data] = None
    names |= dict.fromkeys(allocated_on(recipe))
    job.opened = job.pinned.open(list(names), opened, job.diags)


def allocated_on(recipe: Recipe) -> Iterator[str]:
    """The datasets that `allocate` looks at."""
    spec = recipe.allocate
    if spec is None:
        return
    if spec.sensitivity is not None:
        yield spec.sensitivity.data
    yield from (limit.data for limit in spec.limits if limit.data is not None)


def foresee(job: Job) -> None:
    """What is to be evaluated, looked at as far as that goes before anything is built.

    Needs `prepared`, `observed`; leaves `expected`. Raises QdslError evaluate-*, profile-batch, data-*, python-*.
    """
    wishes = job.wishes
    if not wishes.measure:
        job.expected = None
        return
    needed, allowed = not wishes.lock.locked, wishes.allow_python
    job.expected = measuring.foreseen(job.prepared, job.plans, job.diags, needed=needed, allow_python=allowed)


def _model_words(found: Prepared) -> str:
    number = found.model.parameters
    parameters = (
        f"{number / 1e6:.2f} M parameters" if number >= 1e5 else f"{number:,} parameter{'' if number == 1 else 's'}"
    )
    return (
        f"{plain(found.model.name)}   {count(len(found.view.nodes), 'node')}, {parameters}, "
        f"{mebibytes(found.file_bytes)}, opset {found.view.opset}"
    )
