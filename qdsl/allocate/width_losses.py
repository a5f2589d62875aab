"""What each width of each unit loses: by the recipe's `sensitivity`, else measured in the same way on the first samples
that calibrate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from qdsl.allocate.task import Task
from qdsl.allocate.tensors import Width, Widths
from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, QdslError
from qdsl.harness.sensitivity import keep_sensitivity
from qdsl.ranges.calibrating import by_dataset
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.sensitivity.measuring import How, how, measure
from qdsl.sensitivity.units import Choice, Unit
from qdsl.spec.plan import WeightPlan

# On so many samples each unit is measured. On the few that fit into five passes over the data (2 of 16, with 30 units
# of 3 widths) estimates were too rough: the choice for a crack classifier lost more than one width for all.
SAMPLES = 16
Losses = Mapping[str, Mapping[str, float]]  # by unit and the words of a choice


def losses(task: Task, found: Widths) -> Losses:
    """The noise of the outputs over their signal, one unit alone quantized. Raises QdslError allocate-data,
    sensitivity-*, and what reading samples raises."""
    asked, ranges = task.spec.sensitivity, _ranges(task, found)
    named, way = task.sampled(), How() if asked is None else how(asked)
    dataset = _first(task) if named is None else named
    units = [_unit(members, found) for members in found.units.values()]
    way = replace(way, gains=False, share=SAMPLES)
    task.directory.mkdir(parents=True, exist_ok=True)
    rows = measure(task.prepared.model, units, ranges, dataset, way, folder=task.directory, heard=task.heard)
    if asked is not None:
        keep_sensitivity(task.directory, task.target, rows)
    told: dict[str, dict[str, float]] = {}
    for name, members in found.units.items():
        told[name] = {row.choice: row.loss for row in rows.of(members[0])}
    return told


def _first(task: Task) -> Dataset:
    """The first samples of the first dataset that calibrates."""
    named = (name for name in by_dataset([task.decided.plan]) if name in task.datasets)
    name = next(iter([*named, *task.datasets]), None)
    if name is None:
        headline = "no data says what the widths lose"
        help = ("name some: `sensitivity sqnr on DATA`",)
        raise QdslError([Diagnostic("allocate-data", headline, task.spec.header, help=help)])
    dataset = task.datasets[name]
    return replace(dataset, ids=dataset.ids[:SAMPLES])


def _ranges(task: Task, found: Widths) -> Ranges:
    """Ranges as each plan cuts them: a tensor that only some widths quantize is cut where these say."""
    low, high = dict(task.measured.low), dict(task.measured.high)
    for width in reversed(found.choices):
        cut = cut_ranges(task.prepared, width.decisions, task.measured)
        names = [name for name in width.tensors if name in cut.low]
        low |= {name: cut.low[name] for name in names}
        high |= {name: cut.high[name] for name in names}
    return replace(task.measured, low=low, high=high)


def _unit(members: tuple[str, ...], found: Widths) -> Unit:
    ways = tuple(_way(members, width) for width in found.choices)
    order = found.choices[0].decisions.context.view.node_index
    readers = {reader.node for way in ways for tensor in way.tensors for reader in tensor.readers if reader.node}
    return Unit(tuple(sorted(readers, key=order.__getitem__)), ways, members)


def _way(members: tuple[str, ...], width: Width) -> Choice:
    tensors = tuple(width.tensors[name] for name in members if name in width.tensors)
    return Choice(width.words, tensors=tensors, weights=tuple(_beside(members, width)))


def _beside(members: tuple[str, ...], width: Width) -> Iterator[WeightPlan]:
    """Constants that are stored as the tensor is that they meet (a Mul by a vector): they take its width."""
    context = width.decisions.context
    for weight in width.decisions.plan.weights:
        node = context.view.node(weight.node)
        if weight.port not in context.rows[node.index].constant_ports(node, context.view):
            continue
        if any(node.inputs[port] in members for port in context.data_ports(node)):
            yield weight
