"""Weights that the target computes with, but slowly, where another form stores them as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qdsl.capability import Dynamic, Slow
from qdsl.graph.structure import depthwise
from qdsl.plan.context import Context
from qdsl.spec.plan import Flag, Prediction, WeightPlan

SLOW_WEIGHTS = "slow-weights"


def slow_weights(
    context: Context, weights: Iterable[WeightPlan], predictions: Mapping[str, Prediction]
) -> tuple[Flag, ...]:
    """One flag per rule `[[slow]]` of the table, for weights of a static build."""
    narrow = depthwise(context.view)
    found: dict[str, tuple[Slow, list[WeightPlan]]] = {}
    for weight in weights:
        index = context.view.node(weight.node).index
        rule = context.capability.slow_for(predictions[weight.node].kernel, weight.scheme, depthwise=index in narrow)
        if rule is not None:
            found.setdefault(rule.name, (rule, []))[1].append(weight)
    return tuple(_form_flag(context, rule, slow) for rule, slow in found.values())


def slow_types(context: Context, weights: Iterable[WeightPlan]) -> tuple[Flag, ...]:
    """Weights of a dynamic build in a type that is slow where another type stores the same values, one flag per rule
    `[[dynamic]]` of the table."""
    found: dict[str, tuple[Dynamic, list[WeightPlan]]] = {}
    for weight in weights:
        rule = context.capability.dynamic_for(context.view.node(weight.node))
        if rule is not None and weight.scheme.dtype in rule.slow:
            found.setdefault(rule.name, (rule, []))[1].append(weight)
    return tuple(_type_flag(context, rule, slow) for rule, slow in found.values())


def _type_flag(context: Context, rule: Dynamic, weights: list[WeightPlan]) -> Flag:
    return Flag(
        SLOW_WEIGHTS,
        f"{_first(context, weights, weights[0].scheme.dtype.name)}: {rule.slow_because}",
        tuple(weight.node for weight in weights),
        (f"layers op [{', '.join(rule.ops)}] {{ weights {rule.weight} symmetric }}", "or `weights 8 bit`, for all"),
    )


def _form_flag(context: Context, rule: Slow, weights: list[WeightPlan]) -> Flag:
    where = f"layers {rule.nodes} {{ weights {rule.instead} }}" if rule.nodes != "any" else f"weights {rule.instead}"
    return Flag(
        SLOW_WEIGHTS,
        f"{_first(context, weights, str(weights[0].scheme))}: {rule.because}",
        tuple(weight.node for weight in weights),
        (where,),
    )


def _first(context: Context, weights: list[WeightPlan], form: str) -> str:
    first = weights[0]
    more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
    return f"{first.node}{more}, {form} weights by {first.origin.told(context.origins.recipe.name)}"
