"""What an exact choice took, and the whole frontier, into the build's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdsl.allocate.keeping import kept
from qdsl.search import Assignment, Frontier, Problem, Refusal
from qdsl.spec.widths import Allocation, OptionFacts, UnitFacts

if TYPE_CHECKING:
    from qdsl.allocate.task import Task


def record(target: str, problem: Problem, found: Assignment, offset: int, whole: Frontier | Refusal) -> Allocation:
    """Of one target; `offset` is what there is beside the sum over the units."""
    chosen = dict(found.choices)
    units = tuple(
        UnitFacts(unit.name, chosen[unit.name], tuple(OptionFacts(o.name, o.loss, o.costs[0]) for o in unit.options))
        for unit in problem.units
    )
    known = whole if isinstance(whole, Frontier) else None
    return Allocation(
        target=target,
        units=units,
        size=found.costs[0] + offset,
        loss=found.loss,
        sizes=() if known is None else tuple(int(cost) + offset for cost in known.costs),
        losses=() if known is None else tuple(float(loss) for loss in known.losses),
        incomplete="" if known is not None else str(whole),
    )


def written(task: Task, found: Allocation) -> None:
    """Beside what was tried for the target. Raises QdslError artifact-write."""
    kept(task).exact(found)
