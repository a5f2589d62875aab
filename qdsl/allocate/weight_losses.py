"""What each choice of each weight loses: by the recipe's `sensitivity`, else the noise in what its layer writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdsl.allocate.noise import SAMPLES, noises
from qdsl.allocate.task import Task
from qdsl.allocate.weight_choices import Choice
from qdsl.data import Dataset
from qdsl.harness.sensitivity import keep_sensitivity
from qdsl.measure import comparing
from qdsl.sensitivity.measuring import How, how, measure
from qdsl.sensitivity.units import Choice as Way
from qdsl.sensitivity.units import Unit

Losses = Mapping[str, Mapping[str, float]]  # by unit (its first node) and the words of a choice


def losses(task: Task, units: Sequence[tuple[str, ...]], choices: Sequence[Choice]) -> Losses:
    """Of units of nodes that take one choice together. Raises QdslError calibration-load, calibration-run,
    sensitivity-*, torch-absent, and what reading samples raises."""
    asked, named = task.spec.sensitivity, task.sampled()
    if asked is not None and named is not None:
        return _measured(task, how(asked), named, units, choices)
    samples, _ = comparing.samples(task.prepared, task.decided.plan, task.datasets, SAMPLES)
    found = noises(task.prepared, task.measured, choices, list(samples), task.heard)
    return {unit[0]: {each.words: sum(found[node][each.words] for node in unit) for each in choices} for unit in units}


def _measured(
    task: Task, way: How, dataset: Dataset, units: Sequence[tuple[str, ...]], choices: Sequence[Choice]
) -> Losses:
    ways, model = [Unit(nodes, tuple(_way(each, nodes) for each in choices)) for nodes in units], task.prepared.model
    found = measure(model, ways, task.measured, dataset, way, folder=task.directory, heard=task.heard)
    keep_sensitivity(task.directory, task.target, found)
    told: dict[str, dict[str, float]] = {nodes[0]: dict.fromkeys((c.words for c in choices), 0.0) for nodes in units}
    for row in found.rows:
        told[row.unit][row.choice] = row.loss
    return told


def _way(choice: Choice, nodes: Sequence[str]) -> Way:
    return Way(choice.words, weights=tuple(weight for node in nodes for weight in choice.weights[node]))
