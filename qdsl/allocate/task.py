"""What there is to allocate with, and what a way of doing so is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qdsl import data
from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostics
from qdsl.lang.recipe import Allocate
from qdsl.lang.vocabulary import METRICS
from qdsl.lock import DataFile, Fingerprints
from qdsl.plan import Decisions
from qdsl.sensitivity.measuring import samples_of
from qdsl.spec.assigned import Assigned
from qdsl.work.assigned import Given
from qdsl.work.prepared import Prepared, takes

_TASKS = {row.name: row.tasks for row in METRICS}
Heard = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Task:
    """What there is to allocate with: the recipe and its model, the plan without any choice, ranges of every tensor
    that it quantizes (as measured, not yet cut), the datasets that the recipe's calibration and `allocate` name, and
    the build's folder, where what was measured so far may be kept. `heard` is told (text, done, of all). `stamped` says
    how many bytes of a plan's file tell where it comes from."""

    prepared: Prepared
    decided: Decisions
    measured: Ranges
    datasets: Mapping[str, Dataset]
    directory: Path
    heard: Heard
    diags: Diagnostics
    stamped: Callable[[Decisions, Sequence[Assigned]], int]
    allow_python: bool = False

    @cached_property
    def contents(self) -> tuple[DataFile, ...]:
        """What the datasets hold, by hashes, and what those that decide bounds say of their samples. Raises QdslError
        data-missing, data-unreadable, and what reading labels raises."""
        prints, found = Fingerprints(), [*self.datasets.values()]
        files = [file for each in found for file in prints.dataset(each)]
        return (*files, *(file for each in found if each.name in self._labelled for file in prints.labelled(each)))

    @property
    def _labelled(self) -> set[str | None]:
        """The data of bounds whose metrics need labels."""
        return {limit.data for limit in self.spec.limits if set(_TASKS[limit.require.metric.name]) - {"fidelity"}}

    def sampled(self) -> Dataset | None:
        """The samples that `sensitivity` names, with its own `take`; None without it. Raises QdslError data-*, as
        opening a dataset does."""
        asked, recipe = self.spec.sensitivity, self.prepared.recipe
        if asked is None:
            return None
        statement = samples_of(asked, recipe.dataset(asked.data))
        return data.open(statement, recipe.inputs, takes(self.prepared), self.diags)

    @property
    def target(self) -> str:
        return self.decided.plan.target

    @property
    def spec(self) -> Allocate:
        found = self.prepared.recipe.allocate
        assert found is not None, "the step has seen to it"
        return found


Way = Callable[[Task], Given]
