"""What is rewritten for a target once a plan was carried out, in order, and what is known of it before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from qdsl.capability import Capability
from qdsl.graph.view import GraphView
from qdsl.passes.index import PASSES, lowerings_for, make, pass_class
from qdsl.rewrite import Step, Trace
from qdsl.spec.plan import AS_IT_IS, BiasPlan, Plan, Prediction, TensorPlan, WeightPlan

if TYPE_CHECKING:
    from qdsl.passes.lowering import Foresight, Lowering


def of_graphs(target: str) -> tuple[str, ...]:
    """The lowerings of a target that find by themselves where they fire; the others do what a plan says."""
    return tuple(name for name in lowerings_for(target) if not PASSES[name].of_plan)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of a static plan that is still being made."""

    tensors: tuple[TensorPlan, ...]
    weights: tuple[WeightPlan, ...]
    biases: tuple[BiasPlan, ...]
    mode: str = "static"


def lowerings(plan: Plan) -> tuple[Lowering, ...]:
    """Those for one plan, in order."""
    return tuple(cast("type[Lowering]", pass_class(name)).of(plan) for name in lowerings_for(plan.target))


def foreseen(view: GraphView, plan: Plan, capability: Capability) -> Trace:
    """What the lowerings of `plan` will do, and leave alone: the trace that emitting it will give."""
    return Trace(tuple(Step(str(one), found.outcome) for one, found in _foresights(view, plan, capability)))


def saved(view: GraphView, plan: Plan, capability: Capability) -> int:
    """Bytes of the file that they save."""
    stored = any(weight.scheme.storage_only for weight in plan.weights)
    if not (plan.halves or plan.half_weights or plan.paired_weights or stored or _foretold(view, plan.target)):
        return 0
    return sum(one.saves(view, plan, found.outcome) for one, found in _foresights(view, plan, capability))


def lowered_runs(view: GraphView, pairs: Pairs, capability: Capability, target: str) -> dict[str, Prediction]:
    """What nodes run as that lowerings write otherwise than the table's rows know them. `view` has the copies in it
    that `keep_operators` puts before nodes."""
    if not _foretold(view, target):
        return {}
    from qdsl.passes.planned import planned  # with the inserter, which most plans do without

    sketch = planned(view, pairs)
    runs: dict[str, Prediction] = {}
    for name in of_graphs(target):
        runs |= cast("Lowering", make(name)).foresees(sketch, capability).runs
    return runs


def _foresights(view: GraphView, plan: Plan, capability: Capability) -> Iterator[tuple[Lowering, Foresight]]:
    """Nothing where the file stays as it is."""
    if plan.mode == AS_IT_IS:
        return
    from qdsl.passes.planned import planned

    sketch = planned(view, plan)
    for one in lowerings(plan):
        yield one, one.foresees(sketch, capability)


def _foretold(view: GraphView, target: str) -> bool:
    """Whether lowerings may change what is foreseen of kernels and bytes."""
    operators = frozenset(op for name in lowerings_for(target) for op in PASSES[name].foretells)
    return any(node.op in operators for node in view.nodes)
