"""What runs of a file that is measured as it is: read from the runtime, since nothing was planned for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from qdsl.graph import load, to_proto
from qdsl.plan import Decisions
from qdsl.plan.as_it_is import RAN
from qdsl.spec.plan import AS_IT_IS, NodePlan, Prediction
from qdsl.targets import target_of
from qdsl.targets.results import NotHere, Product, Ran
from qdsl.work.prepared import Prepared

_GONE = Prediction("absorbed", "", "", RAN)


def as_it_runs(prepared: Prepared, decided: Decisions) -> Decisions:
    """Under `quantize none`, the decisions with what the target makes of each node on this machine; others, and
    those for a target that runs elsewhere, as they are. Raises QdslError artifact-refused."""
    if decided.plan.mode != AS_IT_IS:
        return decided
    ran = _kernels(prepared, decided.plan.target)
    if isinstance(ran, NotHere):
        return decided
    found = {name: Prediction(each.runs, each.kernel, "", RAN) for name, each in ran.items()}
    nodes = tuple(_marked(replace(node, prediction=found.get(node.node, _GONE))) for node in decided.plan.nodes)
    integer = [node for node in nodes if node.in_integers]
    total = replace(decided.plan.totals, integer_nodes=len(integer), integer_macs=sum(n.macs or 0 for n in integer))
    plan = replace(decided.plan, nodes=nodes, totals=total)
    return replace(decided, plan=plan, predictions={node.node: node.prediction for node in nodes})


def _marked(node: NodePlan) -> NodePlan:
    return replace(node, mark="+") if node.prediction.runs == "integer" else node


def _kernels(prepared: Prepared, target: str) -> Mapping[str, Ran] | NotHere:
    return target_of(target).kernels(_as_given(prepared), prepared.model.span)


def integer_products(prepared: Prepared, decided: Decisions, family: str) -> Iterable[Product]:
    """What the target multiplies in integers of the file on CPUs of a `family`, read one at a time; none for a target
    that runs elsewhere. Raises QdslError artifact-refused."""
    found = target_of(decided.plan.target).products(_as_given(prepared), family, prepared.model.span)
    return () if isinstance(found, NotHere) else found


def _as_given(prepared: Prepared) -> Path | bytes:
    """The file as it was given, with the names that its graph is known by; one with weights of its own is read where it
    lies."""
    path = prepared.model.path
    assert path is not None, "a recipe's model is a file"
    return path if len(prepared.states) > 1 else to_proto(load(path, span=prepared.model.span)).SerializeToString()
