"""What is to be calibrated for a recipe that allocates: also the tensors that only a choice of it quantizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qdsl.allocate.tensors import widths
from qdsl.allocate.weight_choices import choices, open_nodes
from qdsl.plan import Decisions
from qdsl.spec.plan import Plan
from qdsl.work.prepared import Prepared


def observed(prepared: Prepared, decided: Decisions) -> Plan:
    """The plan without any choice, with the tensors that a choice quantizes and it does not: of `allocate weights`, a
    layer that the target computes in float has none, until its weights are stored in a type that is only stored; of
    `allocate activations`, what a layer writes has none where an activation folds into it in the types of 8 bits.
    Raises QdslError, at the place of the choice, for one that cannot be carried out."""
    plan = decided.plan
    known = {tensor.tensor for tensor in plan.tensors}
    others = [each.plan for each in _others(prepared, decided)]
    more = {
        tensor.tensor: tensor
        for other in others
        for tensor in other.tensors
        if tensor.observe and tensor.tensor not in known
    }
    if not more:
        return plan
    cuts = {cut.tensor: cut for other in others for cut in other.cuts if cut.tensor in more}
    return replace(plan, tensors=(*plan.tensors, *more.values()), cuts=(*plan.cuts, *cuts.values()))


def _others(prepared: Prepared, decided: Decisions) -> Iterator[Decisions]:
    spec = prepared.recipe.allocate
    if spec is not None and spec.what == "weights":
        nodes = open_nodes(decided.context)
        yield from (each.decisions for each in (choices(prepared, decided, nodes) if nodes else ()))
    elif spec is not None and spec.what == "activations":
        yield from (each.decisions for each in widths(prepared, decided).choices)
