"""Recipe x model x target table -> plan: every decision as data, before any of them is carried out."""

from qdsl.plan.build import Decisions, decide, make
from qdsl.plan.explain import Explanation, Step, explain
from qdsl.plan.gate import gate
from qdsl.plan.render import render
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import from_json, plan_hash, plans_json, to_json

__all__ = [
    "Decisions",
    "Explanation",
    "Plan",
    "Step",
    "decide",
    "explain",
    "from_json",
    "gate",
    "make",
    "plan_hash",
    "plans_json",
    "render",
    "to_json",
]
