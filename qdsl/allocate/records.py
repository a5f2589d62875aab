"""`allocation.json` of a build: what there was to choose from, what was chosen, and the whole frontier, as data."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdsl.search import Assignment, Frontier, Problem, Refusal
from qdsl.spec.aside import replace_file

if TYPE_CHECKING:
    from qdsl.allocate.task import Task

NAME = "allocation.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """One choice of a unit: what it loses, and the bytes it adds to the float model or takes from it."""

    choice: str
    loss: float
    bytes: int


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A weight, by the first node that reads it, and what was chosen for it."""

    node: str
    chosen: str
    options: tuple[OptionFacts, ...]


@dataclass(frozen=True, slots=True)
class Allocation:
    """`sizes` and `losses` are the frontier by rising size: no assignment is as small and loses less. Its sizes are
    those of files that are short of the sum over their layers by as much as the chosen one is. Both are empty where
    the frontier was too large to follow, which `incomplete` then says."""

    target: str
    units: tuple[UnitFacts, ...]
    size: int
    loss: float
    sizes: tuple[int, ...]
    losses: tuple[float, ...]
    incomplete: str = ""

    @classmethod
    def of(cls, target: str, problem: Problem, found: Assignment, offset: int, whole: Frontier | Refusal) -> Allocation:
        """The record of one target."""
        chosen = dict(found.choices)
        units = tuple(
            UnitFacts(
                unit.name, chosen[unit.name], tuple(OptionFacts(o.name, o.loss, o.costs[0]) for o in unit.options)
            )
            for unit in problem.units
        )
        known = whole if isinstance(whole, Frontier) else None
        return cls(
            target=target,
            units=units,
            size=found.costs[0] + offset,
            loss=found.loss,
            sizes=() if known is None else tuple(int(cost) + offset for cost in known.costs),
            losses=() if known is None else tuple(float(loss) for loss in known.losses),
            incomplete="" if known is not None else str(whole),
        )


def written(task: Task, found: Allocation) -> None:
    """Into the build's folder, beside what other targets of the build left there. OSError where that fails."""
    path = task.directory / NAME
    others = [each for each in _read(path) if each["target"] != found.target]
    rows = sorted([*others, asdict(found)], key=lambda each: str(each["target"]))
    text = json.dumps({"version": VERSION, "targets": rows}, indent=1)
    replace_file(path, text.encode())


def _read(path: Path) -> list[dict[str, Any]]:
    """What other targets of the build left there; nothing of another form."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return [each for each in found["targets"] if isinstance(each["target"], str)]
    return []
