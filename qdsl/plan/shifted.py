"""Clips with an upper bound per channel, as `equalize` writes them, and what they cost beside weights per channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qdsl.graph.view import GraphView, NodeView
from qdsl.graph.walk import chain
from qdsl.lang.recipe import Recipe
from qdsl.plan.context import Context
from qdsl.spec.plan import Flag, WeightPlan
from qdsl.spec.words import count

EQUALIZE_COSTS = "equalize-costs"


def shifted(view: GraphView) -> Iterator[tuple[NodeView, NodeView]]:
    """The Clip and the Relu of each Relu(Clip(x) - t), t a constant."""
    for node in view.nodes:
        found = chain(view, node.inputs[0], "Clip", "Add") if node.op == "Relu" and not node.domain else None
        if found is not None and view.is_constant(found[1].inputs[1]):
            yield found[0], node


def equalize_costs(context: Context, recipe: Recipe, weights: Iterable[WeightPlan]) -> tuple[Flag, ...]:
    """One flag for the pairs behind a Clip whose weights have a scale per channel on both sides: those lost nothing by
    unequal ranges, while a channel between whose bound is lower now has fewer of the levels of its one scale."""
    if recipe.improve is None or "equalize" not in {name for name, _ in recipe.improve.steps}:
        return ()
    view, apart = context.view, {weight.node: weight.axis is not None for weight in weights}
    pairs = ((view.producer(clip.inputs[0]), view.consumers(relu.outputs[0])) for clip, relu in shifted(view))
    found = tuple(
        before.name
        for before, behind in pairs
        if before is not None and apart.get(before.name) and all(apart.get(node.name, True) for node in behind)
    )
    if not found:
        return ()
    told = (
        f"{count(len(found), 'pair')} behind a Clip, the first at {found[0]}: weights with a scale per channel win "
        "nothing by `equalize`, and the activation between loses"
    )
    help = ("take `equalize` out, or write `weights .. per_tensor`",)
    return (Flag(EQUALIZE_COSTS, told, found, help),)
