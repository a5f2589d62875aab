"""Steps from data or the lock to ranges, and to what these choose. An interruption leaves checkpoints to go on from,
and once `lock` has run nothing of this is measured again."""

from __future__ import annotations

from dataclasses import replace

from qdsl.measure.events import Event
from qdsl.plan.cached import shown as cache_words
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.calibrating import measure, named
from qdsl.ranges.correcting import means_for, measure_means
from qdsl.ranges.cut_ranges import cut_note, cut_ranges
from qdsl.spec.words import count
from qdsl.steps.job import Job
from qdsl.tune import choices, tuning
from qdsl.work.occupying import occupied
from qdsl.work.writing import require_place


def occupy(job: Job) -> None:
    """The build's folder for this process alone, to the end of the job; it and those below can be written.

    Needs `loaded`, `planned`. Raises QdslError artifact-write, before anything is measured for it.
    """
    require_place(job.directory)
    for plan in job.plans:
        require_place(job.directory / plan.target)
    job.held.enter_context(occupied(job.directory, lambda text: job.tell(Event("wait", text))))


def recall(job: Job) -> None:
    """The ranges of a fresh lock; a stale one is refused.

    Needs `pinned`, `prepared`, `planned`, `opened`; leaves `recalled`, `datasets`. Raises QdslError lock-stale, data-*.
    """
    job.recalled = job.pinned.ranges(job.prepared, job.plans, job.opened, job.diags)
    job.datasets = job.opened if job.recalled is None else job.pinned.readable(job.opened)


def calibrate(job: Job) -> None:
    """Ranges and means, from the data unless the lock gave them, less what their readers cut off.

    Needs `loaded`, `pinned`, `prepared`, `planned`, `recalled`, `datasets`, `calibrator`; leaves `measured`, `ranges`.
    Raises QdslError calibration-*, lock-moved, and what is wrong with samples.
    """
    known = job.recalled
    if known is None:
        known = _from_data(job)
    else:
        job.tell(Event("lock", f"{count(known.count, 'range')} from {job.pinned.path.name}, nothing to calibrate"))
    for use in dict.fromkeys(use for plan in job.plans for use in plan.caches):
        job.tell(Event("calibrate", cache_words(use)))
    planned = {one.plan.target: one for one in job.planned}
    job.measured = known.mapped(lambda target, found: named(found, planned[target].plan))
    job.ranges = job.measured.mapped(lambda target, found: cut_ranges(job.prepared, planned[target], found))


def choose(job: Job) -> None:
    """The decisions under what the lock says of alternatives, else under what ranges and timing choose.

    Needs `pinned`, `prepared`, `planned`, `recalled`, `datasets`, `measured`, `ranges`; leaves `decided`, `tuned`.
    Raises QdslError tune-data, lock-stale, and what building and running raise.
    """
    if job.recalled is None:
        heard, ranges = job.stage("tune"), job.ranges
        given = [(each, ranges.of(each.plan.target), job.datasets) for each in job.planned]
        found = [tuning.choose(job.prepared, *each, heard) for each in given]
        job.decided = tuple(one.decisions for one in found)
        job.tuned = [choice for one in found for choice in one.choices]
        if (tune := job.prepared.recipe.tune) is not None:
            job.diags.extend(warning for one in found for warning in one.left_out(tune))
    else:
        known = job.pinned.choices
        job.decided = tuple(choices.recall(job.prepared, each, known) for each in job.planned)
        job.tuned = []
    job.diags.extend(cut_note(job.decided, job.measured, job.ranges))


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
    means, plans = measure_means(job.prepared, job.plans, job.datasets, heard), {p.target: p for p in job.plans}
    job.pinned.require_unmoved()
    return ranges.mapped(lambda target, found: replace(found, means=means_for(plans[target], means)))
