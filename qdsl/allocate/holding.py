"""Exact choices under bounds that only a running build decides: what the choice proposes is built and measured, within
a number of evaluations, and an interrupted compilation goes on from what it measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from qdsl.allocate.building import Building
from qdsl.allocate.evaluating import Evaluator, by_choice
from qdsl.allocate.fitting import Fitted
from qdsl.allocate.keeping import Kept
from qdsl.allocate.problem import Asked
from qdsl.allocate.refining import EVALUATIONS, Measured, Verdict
from qdsl.allocate.task import Task
from qdsl.allocate.told import evidence, no_bound, progress
from qdsl.diag import QdslError
from qdsl.search import Assignment, Frontier, Refusal, frontier
from qdsl.spec.allocation import Trial

# What a file has beside the sum over its layers depends on the assignment: whether it fits is asked of the file where
# the sum is within this of the bound.
NEAR = 1.02
Choices = tuple[tuple[str, str], ...]


class Cost(Protocol):
    """What an assignment costs, which is the first measure of the problem."""

    @property
    def bound(self) -> int | None:
        """The most that a build may cost; None for no bound."""

    def fits(self, found: Assignment, start: Fitted) -> bool:
        """Whether an assignment keeps to every bound that is known without measuring; `start` is one that does."""

    def of(self, found: Assignment, trial: Trial) -> int:
        """What an assignment costs that was built."""


@dataclass(frozen=True)
class FileSize:
    """The bytes of the emitted file; `bound` is what it may have, None for no bound on it."""

    building: Building
    bound: int | None

    def fits(self, found: Assignment, start: Fitted) -> bool:
        """Asked of the file where the sum over layers is near the bound."""
        if self.bound is None:
            return True
        near = found.costs[0] + start.offset <= self.bound * NEAR
        return near and self.building.emitted(found) <= self.bound

    def of(self, found: Assignment, trial: Trial) -> int:
        """As it was measured, with what the file says of where it comes from."""
        return trial.bytes


@dataclass
class Holding:
    """One search."""

    task: Task
    asked: Asked
    cost: Cost
    evaluator: Evaluator
    kept: Kept
    _trials: dict[Choices, Trial] = field(default_factory=dict)

    def smallest(self) -> Fitted | Refusal:
        """What costs least of those measured that keep to every bound. Raises QdslError allocate-bound where none
        does, and what building and running raise."""
        points = frontier(self.asked.problem, self.asked.problem.measures[0])
        if not isinstance(points, Frontier):
            return points
        search = self._search()
        return self._taken(search, search.smallest(points))

    def mended(self, start: Fitted) -> Fitted:
        """The first that keeps to every bound, from the assignment that loses least on by swaps within the bounds
        that are known without measuring. Raises as `smallest`."""
        search = self._search()
        return self._taken(search, search.mended(start.assignment, lambda found: self.cost.fits(found, start)))

    def _search(self) -> Measured:
        return Measured(self.asked.problem, self._judged, self.task.spec.evaluations or EVALUATIONS)

    def _taken(self, search: Measured, found: Assignment | None) -> Fitted:
        if found is None:
            raise QdslError(list(no_bound(self.task, self.kept.found.trials)))
        self.kept.end(self._trials[found.choices], None)
        return Fitted(found, search.look(found).size)

    def told(self, found: Assignment) -> str:
        """What was measured of an assignment, for the lock."""
        return evidence(self.kept.found, self._trials[found.choices])

    def _judged(self, found: Assignment) -> Verdict:
        trial = self._trials[found.choices] = self._trial(found)
        most = self.task.spec.evaluations or EVALUATIONS
        self.task.heard(progress(trial, len(self._trials), most), len(self._trials), most)
        if trial.why:
            return Verdict(False, trial.margin, found.costs[0])
        size, bound = self.cost.of(found, trial), self.cost.bound
        left = 0.0 if bound is None else (bound - size) / max(bound, 1)
        return Verdict(trial.holds and left >= 0.0, min(trial.margin, left) if left < 0.0 else trial.margin, size)

    def _trial(self, found: Assignment) -> Trial:
        """Measured now, or in a compilation that was interrupted."""
        rows = self.asked.given(found)
        known = self.kept.trial(by_choice(rows))
        if known is None:
            known = self.evaluator.measure(rows)
            self.kept.add(known)
        return known
