"""What a lowering is: a pass that serves one runtime, run after a plan was carried out on the copy that is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.passes.pairs import PAIRS_AS_PLANNED
from qdsl.rewrite import PlanFact, Rewrite


@dataclass(frozen=True, slots=True)
class Lowering(Rewrite):
    """Base of lowerings. The plan's pairs stay as planned but around the nodes that it reports."""

    requires: ClassVar[tuple[PlanFact, ...]] = (PAIRS_AS_PLANNED,)
    ensures: ClassVar[tuple[PlanFact, ...]] = (PAIRS_AS_PLANNED,)
