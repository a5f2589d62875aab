"""What it costs the outputs that groups are in integers, estimated: the noise of each rounding alone, over their signal.

Noise of different roundings adds up nearly (it is small, and of no common sign), so that what a choice loses is the sum
over the roundings that it leaves in. A tensor between two groups is rounded unless both are in float.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from qdsl.allocate.task import Task
from qdsl.allocate.units import FLOAT, INTEGER, Groups
from qdsl.causes.effects import Bench
from qdsl.causes.floats import float_weights
from qdsl.causes.outputs import parts_of
from qdsl.causes.switching import Switch, switched
from qdsl.finished.reading import read
from qdsl.finished.records import Role
from qdsl.graph import load
from qdsl.graph.view import GraphView
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.spec.scratch import scratch
from qdsl.targets import target_of

SAMPLES = 2
_WORST = 1e6  # of a rounding whose outputs cannot be compared


@dataclass(frozen=True, slots=True)
class Loss:
    """Noise over signal of the outputs, gone where all of `groups` are in float."""

    noise: float
    groups: tuple[int, ...]


def losses(task: Task, groups: Groups, samples: int = SAMPLES) -> tuple[Loss, ...]:
    """The roundings of the plan without any choice. Raises QdslError as building, running and reading samples do."""
    prepared, decided = task.prepared, task.decided
    with scratch() as folder:
        ranges = cut_ranges(prepared, decided, task.measured)
        target = target_of(task.target)
        emitted = target.emit(prepared.model, decided.plan, ranges, folder, inputs=prepared.recipe.inputs)
        finished = read(load(emitted.model, widen=True))
        graph = switched(finished, float_weights(finished, prepared.model))
        parts = parts_of(finished.view)
        owned = _owned(graph.switches, groups, prepared.view)
        if not (owned and parts):
            return ()
        bench = Bench.of(graph, parts, _samples(task, samples))
        told = partial(task.heard, "what each rounding alone costs the outputs")
        found = bench.together(list(owned.values()), told)
    return tuple(Loss(_noise(each), owner) for owner, each in zip(owned, found, strict=True))


def _samples(task: Task, count: int) -> list[Mapping[str, Any]]:
    spec = task.spec
    named = spec.sensitivity.data if spec.sensitivity is not None else None
    dataset = task.datasets[named] if named is not None else next(iter(task.datasets.values()))
    return [sample.arrays for sample in islice(dataset, count)]


def _noise(found: float | None) -> float:
    """Decibels of signal over noise as noise over signal."""
    if found is None or found == -math.inf:
        return _WORST
    return 0.0 if found == math.inf else min(_WORST, 10 ** (-found / 10))


def _owned(switches: Sequence[Switch], groups: Groups, view: GraphView) -> dict[tuple[int, ...], list[Switch]]:
    """Roundings by the groups that have to be in float to be rid of them; those that stay whatever is chosen are left
    out."""
    place = {name: at for at, group in enumerate(groups.groups) for name in group.nodes}
    around = {each.tensor: (each.writer, *each.readers) for each in groups.crossings}
    found: dict[tuple[int, ...], list[Switch]] = {}
    for switch in switches:
        touched: set[int] = set()
        for member in switch.members:
            if switch.role is Role.ACTIVATION:
                name = member.called if member.called in view.tensors else member.record.tensor
                writer = view.producer(name)
                inside = (place.get(writer.name, FLOAT) if writer is not None else FLOAT,)
                touched.update(around.get(name, inside))
            else:
                touched.update(place.get(node, INTEGER) for node, _ in member.readers)
        if INTEGER not in touched and (owners := tuple(sorted(touched - {FLOAT}))):
            found.setdefault(owners, []).append(switch)
    return dict(sorted(found.items()))
