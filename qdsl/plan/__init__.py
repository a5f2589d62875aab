"""Recipe x model x target table -> plan: every decision as data, before any of them is carried out."""

from qdsl.plan.build import Decisions, decide, make
from qdsl.plan.explain import Explanation, Step, explain
from qdsl.plan.gate import gate
from qdsl.plan.render import render

__all__ = [
    "Decisions",
    "Explanation",
    "Step",
    "decide",
    "explain",
    "gate",
    "make",
    "render",
]
