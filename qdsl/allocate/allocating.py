"""`allocate` carried out for one target: which way finds the types of what it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qdsl.allocate import widths
from qdsl.allocate.task import Heard, Task, Way
from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostics
from qdsl.plan import Decisions
from qdsl.work.assigned import Given
from qdsl.work.prepared import Prepared

# By what the statement speaks of: "weights", "activations" or "layers".
WAYS: dict[str, Way] = {"weights": widths.weights}


def allocate(
    prepared: Prepared,
    decided: Decisions,
    measured: Ranges,
    datasets: Mapping[str, Dataset],
    directory: Path,
    heard: Heard,
    diags: Diagnostics,
) -> Given:
    """The types for one target and the plan under them. Raises QdslError allocate-*, and what building and running
    raise; nothing is written but what a later call goes on from."""
    spec = prepared.recipe.allocate
    assert spec is not None, "the step has seen to it"
    return WAYS[spec.what](Task(prepared, decided, measured, datasets, directory, heard, diags))
