"""Recipe x model x target table -> plan: every decision as data, before any of them is carried out."""

from qdsl.plan.build import Decisions, decide, make
from qdsl.plan.gate import gate

__all__ = ["Decisions", "decide", "gate", "make"]
