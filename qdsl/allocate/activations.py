"""`allocate activations`: the widths that lose least within what they may cost, and where bounds on metrics stand
beside it, those that are measured to keep to these."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from qdsl.allocate.evaluating import Evaluator
from qdsl.allocate.fitting import Fitted
from qdsl.allocate.holding import Holding
from qdsl.allocate.keeping import kept
from qdsl.allocate.problem import Asked
from qdsl.allocate.records import record, written
from qdsl.allocate.task import Task
from qdsl.allocate.weight_choices import under
from qdsl.allocate.width_goals import cannot, figure
from qdsl.allocate.width_losses import losses
from qdsl.allocate.width_problem import Choosing, choosing
from qdsl.lock import LockedOutcome
from qdsl.search import Assignment, frontier
from qdsl.spec.allocation import Trial
from qdsl.spec.words import count
from qdsl.work.assigned import Given


def activations(task: Task) -> Given:
    """The widths of activations for one target. Raises QdslError allocate-*, and what planning, emitting and running
    raise."""
    chosen = choosing(task.prepared, task.decided)
    lost = losses(task, chosen.widths)
    asked = chosen.asked(lost)
    answer, told = _measured(task, chosen, asked) if chosen.goal.measured else (chosen.least(asked), "")
    rows = asked.given(answer)
    own, decided = under(task.prepared, task.target, rows)
    first = chosen.costs[0]
    made = record(task.target, asked.problem, answer, first.fixed, frontier(asked.problem, first.measure))
    written(task, replace(made, measure=first.measure, each=first.each))
    words = f"{_evidence(chosen, answer)}{told}"
    task.heard(f"{task.target}   {words}", 0, 0)
    return Given(own, decided, rows, LockedOutcome(task.target, words))


@dataclass(frozen=True)
class _Sums:
    """What an assignment costs is known before it is built. `most` are the bounds, in the order of the measures."""

    most: tuple[int | None, ...]
    bound: None = None

    def fits(self, found: Assignment, start: Fitted) -> bool:
        pairs = zip(found.costs, self.most, strict=True)
        return all(most is None or cost <= most for cost, most in pairs)

    def of(self, found: Assignment, trial: Trial) -> int:
        return found.costs[0]


def _measured(task: Task, chosen: Choosing, asked: Asked) -> tuple[Assignment, str]:
    """With what was measured of it."""
    within = chosen.bounds
    sums = _Sums(tuple(within.get(measure) for measure in chosen.goal.measures))
    with Evaluator(task, times=False) as evaluator:
        holding = Holding(task, asked, sums, evaluator, kept(task))
        if chosen.goal.smallest:
            answer = holding.smallest()
        else:
            best = chosen.least(asked)
            answer = holding.mended(Fitted(best, best.costs[0]))
        if not isinstance(answer, Fitted):
            raise cannot(answer, task.spec, chosen.costs)
        return answer.assignment, f"; {holding.told(answer.assignment)}"


def _evidence(chosen: Choosing, found: Assignment) -> str:
    taken = Counter(choice for _, choice in found.choices)
    types = ", ".join(f"{words} {number}" for words, number in sorted(taken.items()))
    costs = ", ".join(
        f"{of.measure} {figure(of.told(cost))}" for of, cost in zip(chosen.costs, found.costs, strict=True)
    )
    return f"loss {found.loss:.4g} in {count(len(found.choices), 'activation')} ({types}), {costs}"
