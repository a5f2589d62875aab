"""What the plan warns of by structure, before any data has been seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qdsl.graph.moves import moved
from qdsl.graph.structure import decode_head
from qdsl.graph.view import GraphView, NodeView
from qdsl.lang.recipe import Recipe, Target
from qdsl.plan.context import Context
from qdsl.plan.share import shifted
from qdsl.spec import DType
from qdsl.spec.plan import Flag, TensorPlan, WeightPlan
from qdsl.spec.words import count

SHARED_RANGE = "shared-range"
NEWER_OPSET = "newer-opset"
DEVICE_UNSAID = "device-unsaid"
EQUALIZE_COSTS = "equalize-costs"
_PROBABILITIES = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})


def flags(context: Context, recipe: Recipe, target: Target | None, tensors: dict[str, TensorPlan]) -> tuple[Flag, ...]:
    """Concats that would hold boxes (pixels) and scores (0..1) under one scale, unless `allow shared-range` covers
    them."""
    allowed = allowed_nodes(context, recipe, target)
    found = (node for node in _mixed_concats(context.view) if node.index not in allowed)
    return tuple(_flag(node) for node in found if any(tensor in tensors for tensor in node.outputs))


def cautions(context: Context, tensors: Iterable[TensorPlan], weights: Iterable[WeightPlan]) -> tuple[Flag, ...]:
    """One flag per type that does not run everywhere, where the recipe does not say for which device it is."""
    used: dict[DType, list[str]] = {}
    for weight in weights:
        used.setdefault(weight.scheme.dtype, []).append(weight.node)
    for tensor in tensors:
        used.setdefault(tensor.scheme.dtype, []).extend(reader.node for reader in tensor.readers if reader.node)
    kinds = ((context.capability.type_row(dtype), nodes) for dtype, nodes in used.items())
    return tuple(
        Flag(DEVICE_UNSAID, kind.caution, tuple(dict.fromkeys(nodes)), ("name the device: `device` in the target",))
        for kind, nodes in kinds
        if kind is not None and kind.caution
    )


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


def newer_opset(context: Context) -> tuple[Flag, ...]:
    """That the model's opset is newer than what the target's software is known to read."""
    known, found = context.capability.max_opset, context.view.opset
    if found <= known:
        return ()
    told = f"the model has opset {found}, and {context.capability.title} is known to read up to {known} in this version"
    cures = (f"export the model with opset {known}, or name a newer `version` in the target",)
    return (Flag(NEWER_OPSET, f"{told}: an operator that changed since may be refused", (), cures),)


def allowed_nodes(context: Context, recipe: Recipe, target: Target | None) -> frozenset[int]:
    """The nodes for which `allow shared_range` says that one scale for everything is meant."""
    return frozenset(
        node
        for allow in (*recipe.allows, *(target.allows if target else ()))
        if allow.code.replace("_", "-") == SHARED_RANGE
        for node in context.selection.nodes(allow.picks)
    )


def _mixed_concats(view: GraphView) -> Iterator[NodeView]:
    """Concats of a detector's decoding that join probabilities with something that is none."""
    likely: set[str] = set()
    head = decode_head(view)
    for node in view.nodes:
        if node.index not in head:
            continue
        parts = {name in likely for name in moved(node) if not view.is_constant(name)}
        if node.op == "Concat" and len(parts) == 2:
            yield node
        if node.op in _PROBABILITIES or parts == {True}:
            likely.update(node.outputs)


def _flag(node: NodeView) -> Flag:
    return Flag(
        SHARED_RANGE,
        f"{node.name} joins boxes and scores: under one scale, pixels (0..640) leave probabilities (0..1) one or two "
        "values",
        (node.name,),
        ("keep decode_head in float32",),
    )
