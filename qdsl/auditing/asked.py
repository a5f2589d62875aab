"""What a recipe asks of a file: its decisions for a target, in the form in which a file can be held against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
