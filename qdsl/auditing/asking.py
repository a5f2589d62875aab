"""What a recipe asks of a file, from its decisions: loaded only where a recipe is given."""

from __future__ import annotations

from qdsl.auditing.asked import Asked
from qdsl.calibrate.ranges import Ranges
from qdsl.passes.qdq_parameters import activation_parameters
from qdsl.plan import Decisions
from qdsl.plan.apart import emitted_view
from qdsl.quant import QParams
from qdsl.spec.plan import CACHED, FIXED, Plan
from qdsl.work.prepared import Prepared


def asked_by(decided: Decisions, prepared: Prepared) -> Asked:
    """What a recipe asks of a file, from its decisions for a target. Raises QdslError for a range that has no scale."""
    plan = decided.plan
    view, tensors = emitted_view(decided.context, {each.tensor: each for each in plan.tensors}, plan.apart)
    kernels = {node.node: node.prediction.kernels for node in plan.nodes}
    ops = {node.name: frozenset((node.op, *kernels.get(node.name, ()))) for node in view.nodes}
    return Asked(prepared.recipe, plan, tuple(tensors.values()), ops, _by_hand(plan, prepared))


def _by_hand(plan: Plan, prepared: Prepared) -> dict[str, QParams]:
    said = {each.group for each in plan.tensors if each.calibration.method in (FIXED, CACHED)}
    measured = {each.group for each in plan.tensors if each.observe and each.calibration.measured}
    known = [each for each in plan.tensors if each.group in said - measured]
    return activation_parameters(known, Ranges({}, {}, 0, 0), prepared.view, prepared.model)
