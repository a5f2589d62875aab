"""`allocate layers`: which layers stay as `quantize` says, and which have another type, found by measuring whole builds
on the data of the bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from qdsl.allocate.conversions import with_conversions
from qdsl.allocate.estimating import COUNT, COUNTED, estimated, labels_of, with_counts
from qdsl.allocate.evaluating import Evaluator, by_choice
from qdsl.allocate.hull import Chosen
from qdsl.allocate.hull import Estimates as Labels
from qdsl.allocate.keeping import Kept, kept
from qdsl.allocate.searching import Search, Shown
from qdsl.allocate.task import Task
from qdsl.allocate.told import evidence, no_bound, progress, warnings
from qdsl.allocate.types import Types, assigned, labels, require_goal, types_of
from qdsl.allocate.units import Groups, groups_of, uncounted
from qdsl.cascade.assigned import with_assigned
from qdsl.diag import QdslError
from qdsl.lock import LockedOutcome
from qdsl.spec.allocation import Estimates, Trial
from qdsl.spec.assigned import Assigned
from qdsl.work.assigned import Given
from qdsl.work.deciding import decide_one

# How much faster than float the fastest choice has to be for time alone to decide: of less, accuracy leaves nothing.
LEAST_GAIN = 1.2
NO_TIME = "integers save little time here: that few multiplications are in float counts beside it"
PARTS, SCAN = 5, 3  # of so many evaluations one weighs losses, one looks for cheaper choices
EVALUATIONS = 60  # where the statement does not say how many


def layers(task: Task) -> Given:
    """The types for one target. Raises QdslError allocate-*, and what building, running and reading samples raise."""
    require_goal(task.spec, task.decided)
    groups = groups_of(task.decided, task.spec)
    task.diags.extend(uncounted(task.decided, groups, task.spec))
    types = types_of(task.prepared, task.decided, groups, task.diags)
    pins = labels(groups, types, task.spec)
    with Evaluator(task, task.spec.minimize == "latency" or _times(task)) as evaluator:
        work = _Work(task, groups, types, pins, evaluator, kept(task))
        return work.given()


def _times(task: Task) -> bool:
    return any(limit.require.metric.name in ("latency", "throughput") for limit in task.spec.limits)


@dataclass
class _Work:
    task: Task
    groups: Groups
    types: Types
    pins: Mapping[int, str]
    evaluator: Evaluator
    kept: Kept
    done: int = 0

    def given(self) -> Given:
        estimates = self._estimates()
        search = self._search(estimates)
        best = search.run()
        if best is None:
            raise self._none_holds()
        rows = self._rows(best.chosen)
        taken = self._trial(rows)
        if self.kept.found.taken is None or self.kept.found.last is None:
            self.kept.end(taken, self.evaluator.again(rows))
        found = self.kept.found
        self.task.diags.extend(warnings(self.task, found, taken))
        self.task.heard(f"{self.task.target}   {evidence(found, taken)}", 0, 0)
        own = replace(self.task.prepared, recipe=with_assigned(self.task.prepared.recipe, rows))
        outcome = LockedOutcome(self.task.target, evidence(found, taken))
        return Given(own, decide_one(own, self.task.target), rows, outcome)

    def _estimates(self) -> Estimates:
        if self.kept.found.estimates is None:
            found, instead = estimated(self.task, self.groups, self.types, self.evaluator)
            if found.unit == "ms":
                found = with_conversions(self.groups, found, self._fixed, self._timer(found, instead))
            if self.task.spec.minimize == "latency" and found.unit == "ms" and not self._saves(found, instead):
                self.task.heard(f"{self.task.target}   {NO_TIME}", 0, 0)
                found = with_counts(found)
            self.kept.estimated(found, instead)
        known = self.kept.found.estimates
        assert known is not None
        return known

    def _timer(self, estimates: Estimates, instead: str) -> Callable[[Chosen], float | None]:
        """What a choice takes as raced with the float model, of which the estimates say what it takes."""
        floats = self._all_in_float(labels_of(self.groups, estimates, self._fixed))

        def timed(chosen: Chosen) -> float | None:
            raced = self.evaluator.gain(self._rows(chosen, instead))
            return None if raced is None else floats / raced.ratio

        return timed

    @staticmethod
    def _all_in_float(found: Labels) -> float:
        """What everything in float costs that may be."""
        everything = frozenset(range(len(found.costs.labels)))
        return found.cost(everything - {at for at, label in found.fixed.items() if not label})

    def _saves(self, estimates: Estimates, instead: str) -> bool:
        """Whether layers in integers save time at all, by the estimates and as timed with the fastest choice and with
        everything in integers: else the fastest choice is next to none in integers, and not what anybody quantizes
        for."""
        found = labels_of(self.groups, estimates, self._fixed)
        if found.cost(found.best(0.0)) >= self._all_in_float(found) / LEAST_GAIN:
            return False
        pinned = frozenset(at for at, label in found.fixed.items() if label)
        raced = [self.evaluator.gain(self._rows(each, instead)) for each in (found.best(0.0), pinned)]
        return any(each is None or each.ratio > LEAST_GAIN for each in raced)

    @property
    def _fixed(self) -> dict[int, bool]:
        return {at: kind != self.types.usual for at, kind in self.pins.items()}

    @property
    def _instead(self) -> str:
        return self.kept.found.instead

    def _search(self, estimates: Estimates) -> Search:
        found = labels_of(self.groups, estimates, self._fixed)
        most = self.task.spec.evaluations or EVALUATIONS
        reverse = self.task.spec.minimize == "loss"
        scan = 0 if reverse else most // SCAN
        return Search(found, self.groups.multiplying, self._measure, most // PARTS, scan, reverse)

    def _measure(self, chosen: Chosen) -> Shown | None:
        most = self.task.spec.evaluations or EVALUATIONS
        if self.done >= most:
            return None
        self.done += 1
        trial = self._trial(self._rows(chosen))
        self.task.heard(progress(trial, self.done, most), self.done, most)
        slower = trial.raced is not None and trial.raced.ratio < 1.0
        return Shown(chosen, trial.holds, trial.margin, self._cost(trial), trial.spread, slower)

    def _cost(self, trial: Trial) -> float | None:
        """What a choice costs as raced, in runs of the float model; None where time is not what is minimized."""
        if trial.raced is None or self.task.spec.minimize != "latency":
            return None
        found = self.kept.found.estimates
        counted = found is not None and found.unit == COUNTED
        return 1.0 / trial.raced.ratio + (COUNT * (1.0 - trial.integer_share) if counted else 0.0)

    def _trial(self, rows: tuple[Assigned, ...]) -> Trial:
        """A choice measured now, or in a compilation that was interrupted."""
        known = self.kept.trial(by_choice(rows))
        if known is None:
            known = self.evaluator.measure(rows)
            self.kept.add(known)
        return known

    def _rows(self, chosen: Chosen, instead: str = "") -> tuple[Assigned, ...]:
        kinds = {at: self.pins.get(at, instead or self._instead) for at in chosen}
        return assigned(self.groups, kinds)

    def _none_holds(self) -> QdslError:
        return QdslError(list(no_bound(self.task, self.kept.found.trials)))
