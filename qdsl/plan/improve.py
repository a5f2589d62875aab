"""`improve { .. }`: what is made better after calibration, without training: biases, and the integers of weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from qdsl.cascade.assigned import assigned_rules
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Recipe
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft, float_biases
from qdsl.rounding.layers import agreed, roundable
from qdsl.spec.plan import BiasPlan, Origin, WeightPlan
from qdsl.spec.words import count

BUILT = ("equalize", "bias_correct", "round")
# Gemm: y = alpha x w + beta b
_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


class Biases(NamedTuple):
    """`stored` as int32, those marked that are moved; of those that stay float, the moved."""

    stored: tuple[BiasPlan, ...]
    moved_floats: tuple[BiasPlan, ...] = ()


def with_corrections(recipe: Recipe, context: Context, draft: Draft) -> Biases:
    """The biases of `draft`, those marked that `bias_correct` moves. Raises QdslError `nothing-to-correct` where it
    asks for that and there is none, and not for want of layers that `allocate` put into float."""
    step = origin(recipe, context, "bias_correct")
    if step is None or recipe.improve is None:
        return Biases(draft.biases)
    data = {tensor.tensor: tensor.calibration.data for tensor in draft.tensors.values()}

    def marked(bias: BiasPlan) -> BiasPlan:
        return replace(bias, corrected_on=data.get(bias.activation)) if _linear(context.view, bias) else bias

    stored = tuple(map(marked, draft.biases))
    floats = tuple(bias for bias in map(marked, float_biases(context, draft)) if bias.corrected_on is not None)
    if not any(bias.corrected_on for bias in (*stored, *floats)) and not assigned_rules(recipe):
        context.diags.error(
            "nothing-to-correct",
            "`bias_correct` finds no bias that it could move",
            recipe.improve.span,
            label="it moves biases of quantized Conv and Gemm, by means of their calibrated inputs",
            help=["use it with `quantize static` and `calibrate ..`, or take it out"],
        )
        context.diags.raise_errors()
    return Biases(stored, floats)


def with_rounding(recipe: Recipe, context: Context, draft: Draft) -> tuple[WeightPlan, ...]:
    """The weights of `draft`, those marked whose integers `round` chooses: by the data that calibrates what their node
    reads, or else that calibrates all of the plan. Raises QdslError `nothing-to-round` where it asks for that and there
    is none, and not for want of layers that `allocate` put into float."""
    if origin(recipe, context, "round") is None or recipe.improve is None:
        return tuple(draft.weights)
    data = {tensor.tensor: tensor.calibration.data for tensor in draft.tensors.values()}
    every = {name for name in data.values() if name is not None}
    alone = next(iter(every)) if len(every) == 1 else None

    def marked(weight: WeightPlan) -> WeightPlan:
        if not roundable(context.view, weight):
            return weight
        return replace(weight, rounded_on=data.get(context.view.node(weight.node).inputs[0]) or alone)

    found = agreed(map(marked, draft.weights), context.view)
    if not any(weight.rounded_on for weight in found) and not assigned_rules(recipe):
        context.diags.error(
            "nothing-to-round",
            "`round adaptive` finds no weight whose integers it could choose",
            recipe.improve.span,
            label="it chooses those of Conv, Gemm and MatMul in 8 bits and less, by data that calibrates",
            help=["use it with `quantize static` and `calibrate ..`, or take it out"],
        )
        context.diags.raise_errors()
    return found


def _linear(view: GraphView, bias: BiasPlan) -> bool:
    """Whether the mean of what the node writes follows from the means of its input channels, on axis 1."""
    node = view.node(bias.node)
    if view.tensors[bias.activation].shape is None:
        return False
    plain = all(node.attrs.get(name, value) == value for name, value in _PLAIN.items())
    return node.op == "Conv" or (node.op == "Gemm" and plain)


def origin(recipe: Recipe, context: Context, step: str) -> Origin | None:
    """Where the recipe asks for `step`; None where it does not."""
    if recipe.improve is None or step not in {name for name, _ in recipe.improve.steps}:
        return None
    return context.origins.of_improve(recipe.improve, step)


def opened(biases: Iterable[BiasPlan], weights: Iterable[WeightPlan]) -> Iterator[str]:
    """What data decides of biases and weights, in the words of `plan`."""
    yield from _counted("weights", "round adaptive", (weight.rounded_on for weight in weights))
    yield from _counted("biases", "bias_correct", (bias.corrected_on for bias in biases))


def _counted(what: str, step: str, data: Iterable[str | None]) -> Iterator[str]:
    counts = Counter(name for name in data if name is not None)
    return (f"{what} of {count(n, 'node')}: {step} on {name}" for name, n in sorted(counts.items()))
