"""Steps that write artifacts, and what is written down beside them."""

from __future__ import annotations

from dataclasses import replace

from qdsl.describe.render import choice_words, totals
from qdsl.diag import Span
from qdsl.findings.arithmetic import arithmetic_findings
from qdsl.findings.findings import findings
from qdsl.findings.foreign_sums import inexact_sums
from qdsl.findings.misread import misread_nodes
from qdsl.harness.measurements import RECIPE
from qdsl.lang.recipe import Recipe
from qdsl.lock import Chosen, Lock
from qdsl.measure import comparing, measuring
from qdsl.measure.events import Event
from qdsl.measure.measuring import Made
from qdsl.measure.waiving import note_waivers
from qdsl.plan import Decisions
from qdsl.plan.gate import all_requires, find_target, tell_block
from qdsl.predict.bits import bits
from qdsl.ranges.rounding import keep
from qdsl.spec.plan_json import plans_json
from qdsl.spec.words import mebibytes, plain, times_smaller
from qdsl.steps.job import Job
from qdsl.steps.stamping import provenance_of_build
from qdsl.targets import target_of
from qdsl.targets.results import Emitted
from qdsl.work.writing import aside, recipe_text, write_text

VERIFY_SAMPLES = 4


def emit(job: Job) -> None:
    """The artifact of each target, held against the float model, in its folder.

    Needs `loaded`, `pinned`, `prepared`, `observed`, `decided`, `measured`, `datasets`, `chosen`, `rounded`,
    `carried`; leaves `made`. Raises QdslError artifact-*, and what rewriting and reading samples raise.
    """
    told = job.wishes.provenance != "none"
    lock = job.pinned.told(job.prepared, job.plans, job.datasets, job.measured, chosen(job)) if told else None
    job.made = tuple(_made(job, each, lock) for each in job.decided)


def find(job: Job) -> None:
    """What the ranges, the weights and the comparison show, each with its cure.

    Needs `loaded`, `prepared`, `decided`, `ranges`, `datasets`, `made`; leaves diagnostics alone.
    """
    first = next(iter(job.datasets.values()), None)
    job.diags.extend(findings(job.prepared, job.decided, job.ranges, first, job.wishes.sets))
    for each in job.made:
        if each.seen is not None:
            job.diags.extend(arithmetic_findings(each.plan, each.seen, _asked(job.loaded.recipe, each.plan.target)))
    for one in job.decided:
        job.diags.extend(inexact_sums(job.prepared, one))
        job.diags.extend(misread_nodes(job.prepared, one))


def write(job: Job) -> None:
    """The plans, the ranges, the recipe and what `round` gained beside the artifacts.

    Needs `loaded`, `prepared`, `decided`, `ranges`, `rounded`. Raises QdslError artifact-write.
    """
    write_text(job.directory / "plan.json", plans_json([decided.plan for decided in job.decided]))
    write_text(job.directory / "ranges.json", job.ranges.to_json())
    write_text(job.directory / RECIPE, recipe_text(job.loaded.recipe))
    for one in job.decided:
        keep(job.directory, one.plan, job.prepared.view, job.rounded.lines)


def lock(job: Job) -> None:
    """The lock beside the recipe, where this job makes one: ranges as measured, and what was chosen.

    Needs `pinned`, `observed`, `measured`, `chosen`, `rounded`. Raises QdslError lock-unwritable.
    """
    if told := job.pinned.write(job.measured, job.plans, chosen(job), job.rounded):
        job.tell(Event("lock", told))


def chosen(job: Job) -> Chosen:
    """What a lock has of choices."""
    return replace(job.chosen, rounded=job.rounded.lines)


def _made(job: Job, decided: Decisions, lock: Lock | None) -> Made:
    """Emit and verify for one target: aside, so that what the runtime refuses never stands where a build does."""
    plan = decided.plan
    target, prepared, directory = target_of(plan.target), job.prepared, job.directory / plan.target
    several = len(job.decided) > 1
    job.tell(Event("rewrite", f"{plan.target}   {totals(plan)}" if several else totals(plan)))
    for choice in plan.choices:
        job.tell(Event("tuned", plain(choice_words(choice, plan.recipe))))
    with aside(directory) as folder:
        provenance, ranges = provenance_of_build(job, decided, lock), job.carried.of(plan.target)
        emitted = target.emit(
            prepared.model, plan, ranges, folder, inputs=prepared.recipe.inputs, provenance=provenance
        )
        block = find_target(job.loaded.recipe, plan.target)
        if block is not None:
            tell_block(target.unfit(block, plan, all_requires(job.loaded.recipe, block), emitted), job.diags)
        note_waivers(emitted.model, job.loaded.recipe, block)
        verification = comparing.verified(target, prepared, emitted, plan, job.datasets, VERIFY_SAMPLES)
        emitted = target.publish(emitted, directory)
    job.diags.extend(comparing.uncompared(prepared, plan, verification))
    context, found = decided.context, measuring.otherwise(plan, verification)
    made = Made(plan, emitted, verification, bits(plan, context.view, context.folded, found))
    job.tell(Event(plan.target, _emitted_words(emitted, prepared.file_bytes), found=made))
    return made


def _emitted_words(emitted: Emitted, float_bytes: int) -> str:
    return f"{plain(str(emitted.model))}   {mebibytes(emitted.size)}, {times_smaller(float_bytes, emitted.size)}"


def _asked(recipe: Recipe, target: str) -> Span:
    """The line that asked for the artifact of `target`."""
    block, mode = find_target(recipe, target), recipe.mode
    return block.span if block is not None else mode.span if mode is not None else recipe.span
