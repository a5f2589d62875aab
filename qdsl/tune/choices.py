"""What is known of a target's alternatives before anything is measured: the choices of a fresh lock, or those open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from qdsl import lock as locks
from qdsl.cascade.rule_words import Origins, table_alternative
from qdsl.diag import Diagnostic, QdslError
from qdsl.lock import Lock, LockedChoice
from qdsl.plan import Decisions
from qdsl.plan.gate import find_target
from qdsl.spec.plan import Choice, Origin
from qdsl.tune.alternatives import candidates, still_open
from qdsl.work.assigned import decide_under, under
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import Prepared, model_prints

TRIALS = 12


def foreseen(prepared: Prepared, decided: Sequence[Decisions]) -> tuple[Decisions, ...]:
    """The decisions with what a fresh lock says of alternatives, or with those as open where there is none."""
    found = fresh_lock(prepared)
    if found is None:
        return tuple(with_open(prepared, each) for each in decided)
    given = ((under(prepared, each.plan.target, found.assigned), each) for each in decided)
    bases = ((own, decide_under(prepared, own, each)) for own, each in given)
    return tuple(recall(own, base, found.tuned) for own, base in bases)


def trials_of(prepared: Prepared, target: str) -> int:
    """How many builds may be timed here: 0 without `tune`, and where another device than this one decides latency."""
    tune, block = prepared.recipe.tune, find_target(prepared.recipe, target)
    if tune is None or (block is not None and block.device is not None):
        return 0
    return tune.trials or TRIALS


def with_open(prepared: Prepared, decided: Decisions) -> Decisions:
    """The same decisions, with what measurements have yet to choose among those of the plan that are open."""
    more = still_open(decided, trials_of(prepared, decided.plan.target))
    return replace(decided, plan=replace(decided.plan, open=(*decided.plan.open, *more))) if more else decided


def recall(prepared: Prepared, decided: Decisions, known: Iterable[LockedChoice]) -> Decisions:
    """The plan under the choices of a lock. Raises QdslError `lock-stale` for one that this plan cannot take."""
    taken = [line for line in known if line.taken and line.target == decided.plan.target]
    if not taken:
        return decided
    possible = {
        (c.alternative.name, node)
        for how in ("timing", "ranges")
        for c in candidates(decided, how)
        for region in c.regions
        for node in region
    }
    for line in taken:
        if (line.alternative, line.node) not in possible:
            headline = f"the lock is stale: tuned: `{line.alternative[:80]}` has no place at `{line.node[:200]}`"
            raise QdslError([Diagnostic("lock-stale", headline, prepared.recipe.span)])
    choices = tuple(
        Choice(line.alternative, (line.node,), line.evidence, origin_of(prepared, decided, line.alternative))
        for line in taken
    )
    return decide_one(prepared, decided.plan.target, choices=choices)


def origin_of(prepared: Prepared, decided: Decisions, name: str) -> Origin:
    """Where the choice of an alternative comes from: the `tune` statement, or the table's row."""
    by_ranges = {c.alternative.name for c in candidates(decided, "ranges")}
    tune, capability = prepared.recipe.tune, decided.context.capability
    if name in by_ranges or tune is None:
        return table_alternative(capability.name, name)
    return Origins(prepared.recipe).of_tune(tune, name)


def fresh_lock(prepared: Prepared) -> Lock | None:
    """The lock beside the recipe; None where there is none, or recipe or model changed since. Raises QdslError
    `lock-invalid`."""
    found = locks.read(Path(prepared.recipe.path).with_suffix(".lock"))
    if found is None or prepared.model.path is None:
        return None
    if locks.recipe_changes(found, locks.meaning(prepared.recipe)):
        return None
    now = model_prints(prepared, locks.Fingerprints())
    return None if locks.model_changes(found, now, None) else found
