"""What a lowering is: a pass that serves one runtime, run after a plan was carried out on the copy that is written.

It is one file that knows all of it: what it does to the graph, on which nodes it will, before there is a graph to do it
to, what these then run as, and what it saves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from qdsl.capability import Capability
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.passes.pairs import PAIRS_AS_PLANNED
from qdsl.rewrite import Outcome, PlanFact, Rewrite
from qdsl.rewrite.sketch import Sketch
from qdsl.spec.plan import Plan, Prediction


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a lowering will do: the `outcome` that `apply` will have, and what nodes then run as, by name, where that is
    not what the table's rows say of them."""

    outcome: Outcome
    runs: Mapping[str, Prediction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lowering(Rewrite, ABC):
    """Base of lowerings. The plan's pairs stay as planned but around the nodes that it reports."""

    requires: ClassVar[tuple[PlanFact, ...]] = (PAIRS_AS_PLANNED,)
    ensures: ClassVar[tuple[PlanFact, ...]] = (PAIRS_AS_PLANNED,)

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The lowering for one plan."""
        return cls()

    @abstractmethod
    def apply(self, model: Model) -> Outcome: ...

    @abstractmethod
    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """What it will do to the graph of `sketch`, which the lowerings before it have drawn on; itself it draws what
        those behind it look at."""

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        """Bytes of the file, less than without it (more, where negative), as far as the predicted size counts them:
        `outcome` is the one foreseen, `view` the float model's."""
        return 0
