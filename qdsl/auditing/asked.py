"""What a recipe asks of a file: its decisions for a target, in the form in which a file can be held against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdsl.auditing.finding import Place
from qdsl.cascade.rule_words import Origins
from qdsl.diag import Span
from qdsl.lang.recipe import Recipe
from qdsl.quant import QParams
from qdsl.spec.plan import Plan, TensorPlan

AT_RUN_TIME = "dynamic"  # the method of a calibration


@dataclass(frozen=True, slots=True)
class Asked:
    """The plan that `recipe` comes to for a target. `tensors` are its pairs as they are emitted, and `ops` the
    operators that each node of the emitted graph may be. `by_hand` has scale and zero point of each group whose range
    the recipe says itself: data decides nothing there."""

    recipe: Recipe
    plan: Plan
    tensors: tuple[TensorPlan, ...]
    ops: Mapping[str, frozenset[str]]
    by_hand: Mapping[str, QParams]

    def lines(self) -> dict[Place, Span]:
        """The recipe's line that decided each node and tensor of the plan, where one did."""
        said = [(Place("tensor", each.tensor), each.origin) for each in self.tensors]
        said += [(Place("node", each.node), each.origin) for each in self.plan.nodes]
        known = {origin: Origins(self.recipe).span(origin) for _, origin in said}
        return {place: line for place, origin in said if (line := known[origin]) is not None}
