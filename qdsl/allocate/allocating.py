"""`allocate` carried out for one target: which way finds the types of what it speaks of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostics
from qdsl.plan import Decisions
from qdsl.work.assigned import Given
from qdsl.work.prepared import Prepared

Heard = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Task:
    """What there is to allocate with: the recipe and its model, the plan without any choice, ranges of every tensor
    that it quantizes (as measured, not yet cut), the datasets that the recipe's calibration and `allocate` name, and
    the build's folder, where what was measured so far may be kept. `heard` is told (text, done, of all)."""

    prepared: Prepared
    decided: Decisions
    measured: Ranges
    datasets: Mapping[str, Dataset]
    directory: Path
    heard: Heard
    diags: Diagnostics

    @property
    def target(self) -> str:
        return self.decided.plan.target


Way = Callable[[Task], Given]
# By what the statement speaks of: "weights", "activations" or "layers".
WAYS: dict[str, Way] = {}


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
