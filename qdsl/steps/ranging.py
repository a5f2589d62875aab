"""Steps from data or the lock to ranges, and to what these choose. An interruption leaves checkpoints to go on from,
and once `lock` has run nothing of this is measured again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from qdsl.allocate import allocating, whole
from qdsl.allocate.extras import require_there
from qdsl.allocate.keeping import from_lock
from qdsl.allocate.possible import require_measurable
from qdsl.allocate.task import Task
from qdsl.allocate.told import in_float
from qdsl.lock import Chosen
from qdsl.measure.events import Event
from qdsl.plan import Decisions
from qdsl.plan.cached import shown as cache_words
from qdsl.ranges import rounding
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.calibrating import measure, named
from qdsl.ranges.choosing import choose_ranges
from qdsl.ranges.correcting import means_for, measure_means
from qdsl.ranges.cut_ranges import cut_note, cut_ranges
from qdsl.ranges.filling import filled
from qdsl.spec.scratch import scratch
from qdsl.spec.words import count
from qdsl.steps.job import Job
from qdsl.steps.stamping import stamped_bytes
from qdsl.targets import target_of
from qdsl.tune import choices, tuning
from qdsl.work.assigned import Given, recalled
from qdsl.work.occupying import occupied
from qdsl.work.writing import require_place


def occupy(job: Job) -> None:
    """The build's folder for this process alone, to the end of the job; it and those below can be written.

    Needs `loaded`, `observed`. Raises QdslError artifact-write, before anything is measured for it.
    """
    require_place(job.directory)
    for plan in job.plans:
        require_place(job.directory / plan.target)
    job.held.enter_context(occupied(job.directory, lambda text: job.tell(Event("wait", text))))


def recall(job: Job) -> None:
    """The ranges of a fresh lock; a stale one is refused. Without one what chooses types has to be installed.

    Needs `pinned`, `prepared`, `observed`, `opened`; leaves `recalled`, `datasets`. Raises QdslError lock-stale,
    data-*, allocate-bound, torch-absent.
    """
    job.recalled = job.pinned.ranges(job.prepared, job.plans, job.opened, job.diags)
    if job.recalled is None:
        require_there(job.prepared.recipe.allocate)
    job.datasets = job.opened if job.recalled is None else job.pinned.readable(job.opened)


def calibrate(job: Job) -> None:
    """Ranges and means, from the data unless the lock gave them.

    Needs `loaded`, `pinned`, `prepared`, `observed`, `recalled`, `datasets`, `calibrator`; leaves `measured`.
    Raises QdslError calibration-*, lock-moved, and what is wrong with samples.
    """
    known = job.recalled
    if known is None:
        require_measurable(job.prepared, job.datasets, job.wishes.allow_python)
        known = _from_data(job)
    else:
        job.tell(Event("lock", f"{count(known.count, 'range')} from {job.pinned.path.name}, nothing to calibrate"))
    for use in dict.fromkeys(use for plan in job.plans for use in plan.caches):
        job.tell(Event("calibrate", cache_words(use)))
    plans = {plan.target: plan for plan in job.plans}
    job.measured = known.mapped(lambda target, found: named(found, plans[target]))


def allocate(job: Job) -> None:
    """The types that `allocate` gives, from the lock or found within its bounds, and the ranges that the plans under
    them use: less what their readers cut off.

    Needs `prepared`, `planned`, `observed`, `measured`, and where the recipe allocates also the lock and the data;
    leaves `given`, `ranges`. Raises QdslError allocate-*, lock-stale, and what building and running raise.
    """
    found = for_any_types(job)
    if job.prepared.recipe.allocate is None:
        job.given = tuple(Given(job.prepared, each) for each in job.planned)
    elif job.recalled is not None:
        known = job.pinned.chosen
        job.given = tuple(recalled(job.prepared, each, known.assigned, known.allocated) for each in job.planned)
        for one in job.given:
            _tell_recalled(job, one)
    else:
        heard, stamped = job.stage("allocate"), stamped_bytes(job)
        job.given = tuple(
            allocating.allocate(
                Task(
                    job.prepared,
                    each,
                    found.of(each.plan.target),
                    job.datasets,
                    job.directory,
                    heard,
                    job.diags,
                    stamped,
                    job.wishes.allow_python,
                )
            )
            for each in job.planned
        )
    if (spec := job.prepared.recipe.allocate) is not None:
        job.diags.extend(in_float(spec, job.given))
    given = {one.decisions.plan.target: one for one in job.given}
    job.ranges = found.mapped(
        lambda target, ranges: cut_ranges(given[target].prepared, given[target].decisions, ranges)
    )


def _tell_recalled(job: Job, given: Given) -> None:
    """Whose types they are and what showed that they are good: nothing is measured for them again."""
    spec, outcome = job.prepared.recipe.allocate, given.outcome
    assert spec is not None and outcome is not None, "the caller and `recalled` have seen to it"
    from_lock(job.directory, spec, given)
    job.tell(Event("allocate", f"{outcome.target}   types from {job.pinned.path.name}: {outcome.evidence}"))


def for_any_types(job: Job) -> TargetRanges:
    """The ranges as measured, and where the recipe allocates those that plans of other types may need, too."""
    plans = {plan.target: plan for plan in job.plans}
    if job.prepared.recipe.allocate is None:
        return job.measured
    return job.measured.mapped(lambda target, ranges: filled(plans[target], ranges))


def choose(job: Job) -> None:
    """The decisions under what the lock says of alternatives, else under what ranges and timing choose.

    Needs `pinned`, `prepared`, `observed`, `given`, `recalled`, `datasets`, `measured`, `ranges`; leaves `decided`,
    `chosen`. Raises QdslError tune-data, lock-stale, and what building and running raise.
    """
    if job.recalled is None:
        heard, broken = job.stage("tune"), _bounds(job)
        found = [
            tuning.choose(
                one.prepared,
                one.decisions,
                job.ranges.of(one.decisions.plan.target),
                job.datasets,
                heard,
                partial(broken, one),
            )
            for one in job.given
        ]
        job.decided = tuple(one.decisions for one in found)
        job.chosen = Chosen(
            tuple(choice for one in found for choice in one.choices),
            tuple(line for one in job.given for line in one.locked),
            tuple(one.outcome for one in job.given if one.outcome is not None),
        )
        if (tune := job.prepared.recipe.tune) is not None:
            job.diags.extend(warning for one in found for warning in one.left_out(tune))
    else:
        known = job.pinned.chosen
        job.decided = tuple(choices.recall(one.prepared, one.decisions, known.tuned) for one in job.given)
        job.chosen = known
    job.diags.extend(cut_note(job.decided, for_any_types(job), job.ranges))


def _bounds(job: Job) -> Callable[[Given, Decisions], str]:
    """Which bound of `allocate` on a build as a whole a plan breaks: they hold for what ships, so for what `tune` makes
    of it, too. The file is written for that where its size is bounded."""
    stamped = stamped_bytes(job) if whole.SIZE in whole.bounded(job.prepared) else None

    def broken(given: Given, decided: Decisions) -> str:
        size = 0 if stamped is None else _size(job, given, decided) + stamped(decided, given.assigned)
        found = (each for each in whole.held(given.prepared, decided, size) if each.holds is False)
        return next((f"breaks `{each.text}` of `allocate`: {each.value:,.6g}" for each in found), "")

    return broken


def _size(job: Job, given: Given, decided: Decisions) -> int:
    target, ranges, inputs = decided.plan.target, job.ranges.of(decided.plan.target), given.prepared.recipe.inputs
    with scratch() as folder:
        return target_of(target).emit(given.prepared.model, decided.plan, ranges, folder, inputs=inputs).size


def round_weights(job: Job) -> None:
    """The integers of weights that `round` chooses, from the lock or by the data, and the ranges with them: what is
    emitted.

    Needs `decided`, `ranges`, and where weights are rounded so also the model, the lock and the data; leaves `rounded`,
    `carried`. Raises QdslError calibration-*, lock-stale, lock-weights, and what is wrong with
    samples.
    """
    plans = [each.plan for each in job.decided]
    if not rounding.asked(plans):
        job.rounded = rounding.Weights()
    elif job.recalled is not None:
        models = [one.prepared.model for one in job.given]
        job.rounded = job.pinned.rounded(plans, models)
    else:
        models, heard = [one.prepared.model for one in job.given], job.stage("round")
        job.rounded = rounding.measured(models, plans, job.ranges, job.datasets, job.directory, heard)
        job.pinned.require_unmoved()
    job.carried = job.rounded.with_them(job.ranges)


def _from_data(job: Job) -> TargetRanges:
    def heard(text: str, done: int, total: int, rate: float) -> None:
        job.tell(Event("calibrate", text, done, total, rate))

    effort = job.wishes.effort
    ranges = measure(
        job.prepared,
        job.plans,
        job.datasets,
        job.directory,
        heard,
        job.diags,
        workers=effort.workers,
        batch=effort.batch,
        by=job.calibrator,
    )
    ranges = choose_ranges(job.prepared, job.plans, job.datasets, ranges, heard)
    means, plans = measure_means(job.prepared, job.plans, job.datasets, heard), {p.target: p for p in job.plans}
    job.pinned.require_unmoved()
    return ranges.mapped(lambda target, found: replace(found, means=means_for(plans[target], means)))
