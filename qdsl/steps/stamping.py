"""What the file of one target says of where it comes from, and how many bytes that takes before it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from qdsl.lock import Chosen, Lock, LockedAssignment, LockedChoice, LockedWeight, table_hashes
from qdsl.plan import Decisions
from qdsl.provenance.making import Origins, provenance_of
from qdsl.provenance.records import Provenance
from qdsl.provenance.stamping import stamp_bytes
from qdsl.ranges.locked import of_target
from qdsl.rounding.layers import layers
from qdsl.spec.assigned import Assigned
from qdsl.spec.plan import AS_IT_IS
from qdsl.steps.job import Job
from qdsl.targets import target_of
from qdsl.targets.manifest import tool_versions
from qdsl.tune.alternatives import candidates
from qdsl.tune.choices import trials_of

_NO_HASH = "0" * 64  # as long as that of integers which nothing has chosen yet


def provenance_of_build(job: Job, decided: Decisions, lock: Lock | None) -> Provenance | None:
    """None where the file is to say nothing.

    Needs `prepared`, `observed`. `lock` is what the lock says or would say, None where nobody wants it told."""
    if lock is None or decided.plan.mode == AS_IT_IS:
        return None
    tables, tools = table_hashes([target_of(decided.plan.target).table]), tuple(tool_versions().items())
    plan = next(plan for plan in job.plans if plan.target == decided.plan.target)
    origins = Origins(
        of_target(lock, plan, job.plans), tools, tables, decided.context.cpus, text=job.wishes.provenance == "text"
    )
    return provenance_of(job.prepared.recipe, decided.plan, origins)


def stamped_bytes(job: Job) -> Callable[[Decisions, Sequence[Assigned]], int]:
    """How many bytes of the file that a plan gives say where it comes from, under what `allocate` gives: at most, where
    `tune` has yet to try alternatives of the plan.

    Needs `pinned`, `prepared`, `observed`, `datasets`, `measured`. Raises QdslError data-missing,
    data-unreadable."""
    told = job.wishes.provenance != "none"
    lock = job.pinned.told(job.prepared, job.plans, job.datasets, job.measured, Chosen()) if told else None

    def stamped(decided: Decisions, given: Sequence[Assigned]) -> int:
        own = None if lock is None else _under(lock, decided, given, trials_of(job.prepared, decided.plan.target))
        found = provenance_of_build(job, decided, own)
        return 0 if found is None else len(stamp_bytes(found))

    return stamped


def _under(lock: Lock, decided: Decisions, given: Sequence[Assigned], trials: int) -> Lock:
    """The lock with what is given, what the ranges chose, a line for each weight whose integers will be chosen, and
    where alternatives are timed one for each node that may be in them, taken or left."""
    target, choices = decided.plan.target, decided.plan.choices
    tuned = {(each.alternative, node): True for each in choices for node in each.nodes}
    for candidate in candidates(decided) if trials else ():
        for node in (node for region in candidate.regions for node in region):
            tuned.setdefault((candidate.alternative.name, node), False)
    keys = (layer.key for layer in layers(decided.plan, decided.context.view))
    return replace(
        lock,
        tuned=tuple(LockedChoice(target, name, node, taken, "") for (name, node), taken in tuned.items()),
        assigned=tuple(LockedAssignment(target, each.node, each.choice) for each in given),
        rounded=tuple(LockedWeight(target, key.tensor, key.how, _NO_HASH, 0.0, 0.0) for key in keys),
    )
