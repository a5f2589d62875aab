"""Runs passes in order, checks what they require and ensure, and records what they did."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from qdsl.graph.collector import collector_paused
from qdsl.graph.model import Model
from qdsl.rewrite.contract import ContractError, Fact, PairsPlan, Pass, PlanFact, Step, Trace
from qdsl.rewrite.facts import ALWAYS, MOST, offenders


def run(passes: Iterable[Pass], model: Model, *, plan: PairsPlan | None = None) -> Trace:
    """Apply each pass to `model`, in place. `plan` is what is, or was, carried out on it: without one, what a pass says
    about a plan is not checked.

    Raises ContractError, which names pass, fact and node, when a contract is not kept; QdslError from a pass goes
    through.
    """
    with collector_paused():
        model.sort()
        runner = _Runner(model, plan)
        return Trace(tuple(runner.step(one) for one in passes))


class _Runner:
    """`_holds` are facts that the pass before ensured; `_changed` the nodes changed since a fact about the plan was
    established: by passes that require it, and so may rely on it and change it where they say so."""

    def __init__(self, model: Model, plan: PairsPlan | None) -> None:
        self._model = model
        self._plan = plan
        self._holds: tuple[Fact | PlanFact, ...] = ()
        self._changed: set[str] = set()

    def step(self, one: Pass) -> Step:
        self._check(one, "requires", [fact for fact in one.requires if fact not in self._holds])
        outcome = one.apply(self._model)
        self._model.sort()
        if any(isinstance(fact, PlanFact) for fact in one.requires):
            self._changed.update(name for fired in outcome.fired for name in fired.nodes)
        self._holds = (*ALWAYS, *one.ensures)
        self._check(one, "ensures", self._holds)
        return Step(str(one), outcome)

    def _check(self, one: Pass, side: str, facts: Iterable[Fact | PlanFact]) -> None:
        for fact in facts:
            found = self._offenders(fact)
            if found:
                name = fact.name if isinstance(fact, PlanFact) else fact.__name__
                raise ContractError(f"pass {one.name} {side} {name}, broken at {', '.join(found)}")

    def _offenders(self, fact: Fact | PlanFact) -> tuple[str, ...]:
        if not isinstance(fact, PlanFact):
            return offenders(self._model, fact)
        if self._plan is None:
            return ()
        return tuple(islice(fact.broken(self._model, self._plan, self._changed), MOST))
