"""What it costs the outputs that groups are in integers, estimated: the noise of each rounding alone, over their
signal.

Noise of different roundings adds up nearly (it is small, and of no common sign), so that what a choice loses is the sum
over the roundings that it leaves in. A tensor between two groups is rounded unless both are in float.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from qdsl.allocate.task import Task
from qdsl.allocate.units import Groups
from qdsl.data import Dataset
from qdsl.diag import QdslError
from qdsl.harness.sensitivity import keep_sensitivity
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.sensitivity.measuring import How, how, measure
from qdsl.sensitivity.units import Choice, Unit, planned
from qdsl.spec.sensitivity import FLOAT

SAMPLES = 4  # that tell layers apart; what the metric makes of parts of the net is measured beside
_WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Loss:
    """Noise over signal of the outputs, gone where all of `groups` are in float."""

    noise: float
    groups: tuple[int, ...]


def losses(task: Task, groups: Groups, dataset: Dataset) -> tuple[Loss, ...]:
    """The roundings of the plan without any choice, measured on what `sensitivity` names, which is kept for the report,
    else on the first samples of `dataset`; where no output can be compared with the float model's, each as if it cost
    the same. Raises QdslError as building, running and reading samples do."""
    prepared, ranges = task.prepared, cut_ranges(task.prepared, task.decided, task.measured)
    units = {
        at: unit for at, unit in enumerate(_unit(task, group.nodes) for group in groups.groups) if unit is not None
    }
    asked = task.spec.sensitivity
    way = How() if asked is None else how(asked)
    named = task.sampled()
    named = replace(dataset, ids=dataset.ids[:SAMPLES]) if named is None else named
    task.directory.mkdir(parents=True, exist_ok=True)
    heard = task.heard
    try:
        found = measure(prepared.model, tuple(units.values()), ranges, named, way, folder=task.directory, heard=heard)
    except QdslError as error:
        if all(each.code != "sensitivity-outputs" for each in error.diagnostics):
            raise
        return tuple(Loss(1.0, (at,)) for at in units)
    if asked is not None:
        keep_sensitivity(task.directory, task.target, found)
    rows = {(row.unit, row.choice): row.loss for row in found.rows}
    return tuple(loss for at, unit in units.items() for loss in _parts(groups, at, unit, rows))


def _unit(task: Task, nodes: tuple[str, ...]) -> Unit | None:
    """Nodes as they are planned, with their weights alone quantized, and in float; None where nothing is quantized."""
    whole = planned(task.decided.plan, frozenset(nodes), task.prepared.view)
    if whole.nothing:
        return None
    alone = Choice(_WEIGHTS, weights=whole.weights, biases=())
    ways = (whole, alone) if whole.weights and whole.tensors else (whole,)
    return Unit(nodes, (*ways, Choice(FLOAT)))


def _parts(groups: Groups, at: int, unit: Unit, rows: dict[tuple[str, str], float]) -> Iterator[Loss]:
    """What the weights of a group cost, and what the pairs that it reads do: these stay while what writes them is in
    integers."""
    whole = rows[unit.name, unit.choices[0].name]
    weights = rows.get((unit.name, _WEIGHTS), whole if unit.choices[0].weights else 0.0)
    read = {tensor.tensor for tensor in unit.choices[0].tensors}
    writers = {each.writer for each in groups.crossings if each.tensor in read and each.writer >= 0}
    yield Loss(min(weights, whole), (at,))
    if whole > weights:
        yield Loss(whole - weights, tuple(sorted({at, *writers})))
