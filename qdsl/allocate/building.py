"""Plans and files of assignments of `allocate weights`, and the bytes of these."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdsl.allocate.problem import Asked
from qdsl.allocate.task import Task
from qdsl.allocate.weight_choices import under
from qdsl.plan import Decisions
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.search import Assignment
from qdsl.targets import target_of
from qdsl.tune.tuning import by_ranges
from qdsl.work.prepared import Prepared


@dataclass
class Building:
    """Plans and files of assignments, in `folder`; plans are kept."""

    task: Task
    asked: Asked
    folder: Path
    _made: dict[tuple[tuple[str, str], ...], tuple[Prepared, Decisions]] = field(default_factory=dict)
    _sizes: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)

    def decided(self, found: Assignment) -> tuple[Prepared, Decisions]:
        """The recipe and the plan under an assignment. Raises what planning raises."""
        if found.choices not in self._made:
            self._made[found.choices] = under(self.task.prepared, self.task.target, self.asked.given(found))
        return self._made[found.choices]

    def foreseen(self, found: Assignment) -> int:
        """Bytes of the file as the plan says."""
        return self.decided(found)[1].plan.totals.predicted_bytes

    def emitted(self, found: Assignment) -> int:
        """Bytes of the file, which is written for it, with what it says of where it comes from."""
        if found.choices not in self._sizes:
            self._sizes[found.choices] = self._written(found)
            self.task.heard("files for their sizes", len(self._sizes), len(self._sizes))
        return self._sizes[found.choices]

    def _written(self, found: Assignment) -> int:
        own, decided = self.decided(found)
        ranges, folder = cut_ranges(own, decided, self.task.measured), self.folder / str(len(self._sizes))
        folder.mkdir()
        decided, _ = by_ranges(own, decided, ranges)
        made = target_of(self.task.target).emit(own.model, decided.plan, ranges, folder, inputs=own.recipe.inputs)
        return made.size + self.task.stamped(decided, self.asked.given(found))
