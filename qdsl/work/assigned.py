"""Plans under the types that `allocate` gave: the recipe with a rule for each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qdsl.cascade.assigned import TENSORS, with_assigned
from qdsl.diag import Diagnostic, QdslError
from qdsl.lock import LockedAssignment, LockedOutcome
from qdsl.plan import Decisions
from qdsl.spec.assigned import Assigned
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Given:
    """One target under what `allocate` gave: `prepared` has the recipe with these rules. `outcome` None: the recipe has
    no `allocate`."""

    prepared: Prepared
    decisions: Decisions
    assigned: tuple[Assigned, ...] = ()
    outcome: LockedOutcome | None = None

    @property
    def locked(self) -> tuple[LockedAssignment, ...]:
        target = self.decisions.plan.target
        return tuple(LockedAssignment(target, each.node, each.choice) for each in self.assigned)


def under(prepared: Prepared, target: str, known: Iterable[LockedAssignment]) -> Prepared:
    """With the recipe that has the rules of a lock for `target`. Raises QdslError `lock-stale` for those that it cannot
    have."""
    given = [Assigned(each.node, each.choice) for each in known if each.target == target]
    if not given:
        return prepared
    tensors = prepared.recipe.allocate is not None and prepared.recipe.allocate.what == TENSORS
    there = set(prepared.view.tensors) if tensors else set(prepared.view.node_index)
    lost = next((each.node for each in given if each.node not in there), None)
    if lost is not None:
        raise _stale(prepared, f"there is no {'tensor' if tensors else 'node'} `{lost[:200]}`")
    try:
        return replace(prepared, recipe=with_assigned(prepared.recipe, given))
    except ValueError as error:
        raise _stale(prepared, str(error)) from None


def decide_under(prepared: Prepared, own: Prepared, decided: Decisions) -> Decisions:
    """The decisions for the target of `decided`, made for `prepared`, under what `own` has of it."""
    return decided if own is prepared else decide_one(own, decided.plan.target)


def recalled(
    prepared: Prepared, decided: Decisions, known: Iterable[LockedAssignment], outcomes: Iterable[LockedOutcome]
) -> Given:
    """One target under what a lock says. Raises QdslError `lock-stale`."""
    target = decided.plan.target
    rows = tuple(each for each in known if each.target == target)
    own = under(prepared, target, rows)
    outcome = next((each for each in outcomes if each.target == target), None)
    if prepared.recipe.allocate is not None and outcome is None:
        raise _stale(prepared, f"`allocate` was not carried out for {target}")
    given = tuple(Assigned(each.node, each.choice) for each in rows)
    return Given(own, decide_under(prepared, own, decided), given, outcome)


def _stale(prepared: Prepared, why: str) -> QdslError:
    spec = prepared.recipe.allocate
    span = spec.header if spec is not None else prepared.recipe.span
    return QdslError([Diagnostic("lock-stale", f"the lock is stale: allocated: {why}", span)])
