"""What is to be calibrated for a recipe that allocates: also the tensors that only a choice of it quantizes."""

from __future__ import annotations

from dataclasses import replace

from qdsl.allocate.weight_choices import choices, open_nodes
from qdsl.plan import Decisions
from qdsl.spec.plan import Plan
from qdsl.work.prepared import Prepared


def observed(prepared: Prepared, decided: Decisions) -> Plan:
    """The plan without any choice, with the tensors that a choice of `allocate weights` quantizes and it does not: a
    layer that the target computes in float has none, until its weights are stored in a type that is only stored.
    Raises QdslError, at the place of the choice, for one that cannot be carried out."""
    spec, plan = prepared.recipe.allocate, decided.plan
    if spec is None or spec.what != "weights":
        return plan
    nodes = open_nodes(decided.context)
    known = {tensor.tensor for tensor in plan.tensors}
    others = (choice.decisions.plan for choice in (choices(prepared, decided, nodes) if nodes else ()))
    more = {
        tensor.tensor: tensor
        for other in others
        for tensor in other.tensors
        if tensor.observe and tensor.tensor not in known
    }
    return replace(plan, tensors=(*plan.tensors, *more.values())) if more else plan
