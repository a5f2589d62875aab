"""What there is to allocate with, and what a way of doing so is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostics
from qdsl.lang.recipe import Allocate
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
    allow_python: bool = False

    @property
    def target(self) -> str:
        return self.decided.plan.target

    @property
    def spec(self) -> Allocate:
        found = self.prepared.recipe.allocate
        assert found is not None, "the step has seen to it"
        return found


Way = Callable[[Task], Given]
