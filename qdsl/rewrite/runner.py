"""Runs passes in order, checks what they require and ensure, and records what they did."""

from __future__ import annotations

from collections.abc import Iterable

from qdsl.graph.collector import collector_paused
from qdsl.graph.model import Model
from qdsl.rewrite.contract import ContractError, Fact, Pass, Step, Trace
from qdsl.rewrite.facts import ALWAYS, offenders


def run(passes: Iterable[Pass], model: Model) -> Trace:
    """Apply each pass to `model`, in place.

    Raises ContractError, which names pass, fact and node, when a contract is not kept; QdslError from a pass goes
    through.
    """
    with collector_paused():
        model.sort()
        return Trace(tuple(_step(one, model) for one in passes))


def _step(one: Pass, model: Model) -> Step:
    _check(model, one, "requires", one.requires)
    outcome = one.apply(model)
    model.sort()
    _check(model, one, "ensures", (*ALWAYS, *one.ensures))
    return Step(str(one), outcome)


def _check(model: Model, one: Pass, side: str, facts: tuple[Fact, ...]) -> None:
    for fact in facts:
        found = offenders(model, fact)
        if found:
            raise ContractError(f"pass {one.name} {side} {fact.__name__}, broken at {', '.join(found)}")
