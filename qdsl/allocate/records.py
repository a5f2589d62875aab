"""What `allocate weights` chose, and the whole frontier, into the build's folder."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qdsl.diag import QdslError
from qdsl.harness.widths import read_widths
from qdsl.search import Assignment, Frontier, Problem, Refusal
from qdsl.spec.aside import replace_file
from qdsl.spec.widths import NAME, Allocation, OptionFacts, UnitFacts, to_json

if TYPE_CHECKING:
    from qdsl.allocate.task import Task


def record(target: str, problem: Problem, found: Assignment, offset: int, whole: Frontier | Refusal) -> Allocation:
    """Of one target; `offset` is what the file has beside the sum over its layers."""
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
    """Beside what other targets of the build left there. OSError where that fails."""
    others: dict[str, Allocation] = {}
    with suppress(QdslError):
        others = read_widths(task.directory)
    kept = tuple(each for target, each in others.items() if target != found.target)
    replace_file(task.directory / NAME, to_json((*kept, found)).encode())
