"""What is said of a setting that reaches nothing: what holds the picked tensors back, and a type that was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from qdsl.capability import ACTIVATION, FLOAT
from qdsl.cascade.cascade import Spoken, Value
from qdsl.diag import Diagnostics, QdslError
from qdsl.lang.recipe import LayersRule, TypeRequest
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.spec import DType
from qdsl.spec.words import count

# The draft that the rules of another context come to.
Again = Callable[[Context], Draft]
_CURES = {
    "weights": "`weights` speaks of nodes with constant weights that run in integers",
    "activations": "`place { quantize outputs of X }` puts a Q/DQ pair where the target's table puts none",
}


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """A node that stays float beside a picked tensor, and what it does with it."""

    tensor: str
    node: int
    does: str


def report_unused(
    context: Context, refused: Mapping[int, str], spoken: Spoken, what: str, said: Value, again: Again
) -> None:
    """Report that the setting `what` of a rule can be applied to nothing that it picks. `refused` holds why nodes stay
    float on this target."""
    held = None if what == "weights" else _obstacle(context, refused, spoken)
    picked = [count(len(found), kind) for found, kind in ((spoken.nodes, "node"), (spoken.tensors, "tensor")) if found]
    label = f"{' and '.join(picked)} picked, none takes it"
    cure = _CURES.get(what, "it speaks of tensors that hold a Q/DQ pair: none of these does")
    if held is not None:
        name = context.view.nodes[held.node].name
        label = f"`{held.tensor}` stays float, as does `{name}`, which {held.does} it: {refused[held.node]}"
        cure = _cure(context, spoken, said, again) or "take it out, or pick other tensors"
    headline = f"`{what}` can be applied to nothing that this rule picks"
    context.diags.error("setting-unused", headline, said.span, label=label, help=[cure])


def _obstacle(context: Context, refused: Mapping[int, str], spoken: Spoken) -> _Obstacle | None:
    """What keeps the first picked tensor float: rather a node that could run in integers than one that never does."""
    found = [held for tensor in _picked(context, spoken) for held in _beside(context, tensor) if held.node in refused]
    return min(found, key=lambda held: context.rows[held.node].kind == FLOAT, default=None)


def _picked(context: Context, spoken: Spoken) -> Iterator[str]:
    yield from spoken.tensors
    for node in spoken.nodes:
        yield from (name for name in context.view.nodes[node].outputs if context.quantizable(name))


def _beside(context: Context, tensor: str) -> Iterator[_Obstacle]:
    found = context.view.tensors[tensor]
    yield from (_Obstacle(tensor, use.node, "reads") for use in found.uses)
    if found.producer is not None:
        yield _Obstacle(tensor, found.producer, "writes")


def _cure(context: Context, spoken: Spoken, said: Value, again: Again) -> str:
    """The target's own type of that width, where it was tried and reaches a picked tensor; "" otherwise."""
    if not isinstance(said, TypeRequest) or said.dtype is None:
        return ""
    other = context.capability.widths[ACTIVATION].get(said.dtype.bits)
    if other in (None, said.dtype) or not isinstance(spoken.rule, LayersRule):
        return ""
    assert other is not None
    settings = replace(spoken.rule.settings, activations=replace(said, dtype=other))
    return _told(said.dtype, other) if _reaches(context, spoken, replace(spoken.rule, settings=settings), again) else ""


def _reaches(context: Context, spoken: Spoken, rule: LayersRule, again: Again) -> bool:
    """Whether `rule` in place of that of `spoken` quantizes a tensor that it picks."""
    diags = Diagnostics()
    rules = tuple(replace(one, rule=rule) if one is spoken else one for one in context.cascade.spoken)
    cascade = replace(context.cascade, spoken=rules, _cache={})
    schemes = replace(context.schemes, diags=diags, _known={}, _answers={})
    try:
        draft = again(replace(context, cascade=cascade, schemes=schemes, diags=diags))
    except QdslError:
        return False
    return not diags.has_errors and any(tensor in draft.tensors for tensor in _picked(context, spoken))


def _told(asked: DType, other: DType) -> str:
    return f"write `{other}` in place of `{asked}`: that reaches it"
