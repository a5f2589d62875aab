"""`allocate` carried out for one target: which way finds the types of what it speaks of."""

from __future__ import annotations

from qdsl.allocate import activations, layers, widths
from qdsl.allocate.keeping import kept
from qdsl.allocate.task import Task, Way
from qdsl.work.assigned import Given

# By what the statement speaks of: "weights", "activations" or "layers".
WAYS: dict[str, Way] = {
    "weights": widths.weights,
    "activations": activations.activations,
    "layers": layers.layers,
}


def allocate(task: Task) -> Given:
    """The types for one target and the plan under them. Raises QdslError allocate-*, and what building and running
    raise; nothing is written but what a later call goes on from."""
    given = WAYS[task.spec.what](task)
    kept(task).settled(given)
    return given
