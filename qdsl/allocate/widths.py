"""`allocate weights`: the types that lose least among those whose file keeps to a size, and where bounds on metrics
stand beside it, those that are measured to keep to these."""

from __future__ import annotations

from collections import Counter

from qdsl.allocate.building import Building
from qdsl.allocate.evaluating import Evaluator
from qdsl.allocate.fitting import Fitted, fitted
from qdsl.allocate.goals import Goal, goal_of, refused
from qdsl.allocate.holding import FileSize, Holding
from qdsl.allocate.keeping import kept
from qdsl.allocate.possible import open_to, problem_with
from qdsl.allocate.problem import SIZE, Asked, by_tensor
from qdsl.allocate.records import record, written
from qdsl.allocate.task import Task
from qdsl.allocate.weight_choices import choices
from qdsl.allocate.weight_losses import losses
from qdsl.lock import LockedOutcome
from qdsl.search import frontier
from qdsl.spec.scratch import scratch
from qdsl.spec.words import count
from qdsl.work.assigned import Given


def weights(task: Task) -> Given:
    """The types of weights for one target. Raises QdslError allocate-*, and what planning, emitting and running
    raise."""
    goal = goal_of(task.spec)
    nodes = open_to(task.spec, task.decided)
    found = choices(task.prepared, task.decided, nodes)
    lost = losses(task, by_tensor(found, nodes), found)
    asked = problem_with(task.prepared, task.decided, nodes, found, lost)
    with scratch() as folder:
        building = Building(task, asked, folder)
        answer, told = _measured(task, asked, building, goal) if goal.measured else _exact(task, asked, building, goal)
        own, decided = building.decided(answer.assignment)
    whole = frontier(asked.problem, SIZE)
    written(task, record(task.target, asked.problem, answer.assignment, answer.offset, whole))
    words = f"{_evidence(asked, answer)}{told}"
    task.heard(f"{task.target}   {words}", 0, 0)
    return Given(own, decided, asked.given(answer.assignment), LockedOutcome(task.target, words))


def _exact(task: Task, asked: Asked, building: Building, goal: Goal) -> tuple[Fitted, str]:
    answer = fitted(asked, goal.bound, building.foreseen, building.emitted)
    if not isinstance(answer, Fitted):
        raise refused(answer, task.spec)
    return answer, ""


def _measured(task: Task, asked: Asked, building: Building, goal: Goal) -> tuple[Fitted, str]:
    """With what was measured of it."""
    with Evaluator(task, goal.timed) as evaluator:
        holding = Holding(task, asked, FileSize(building, goal.bound), evaluator, kept(task))
        if goal.smallest:
            answer = holding.smallest()
        else:
            answer = holding.mended(_exact(task, asked, building, goal)[0])
        if not isinstance(answer, Fitted):
            raise refused(answer, task.spec)
        return answer, f"; {holding.told(answer.assignment)}"


def _evidence(asked: Asked, found: Fitted) -> str:
    taken = Counter(choice for _, choice in found.assignment.choices)
    types = ", ".join(f"{words} {number}" for words, number in sorted(taken.items()))
    loss = f"loss {found.assignment.loss:.4g} in {count(len(asked.problem.units), 'weight')} ({types})"
    return f"{loss}, at most {found.size:,} bytes"
