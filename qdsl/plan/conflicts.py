"""Rules that ask for opposite things by different words. Neither can win: the recipe has to say which it means."""

from __future__ import annotations

from collections.abc import Iterable

from qdsl.cascade.cascade import Cascade, Spoken
from qdsl.diag import Diagnostic, Span
from qdsl.lang.recipe import KeepRule, LayersRule, TypeRequest
from qdsl.plan.context import Context
from qdsl.plan.place import Edit
from qdsl.spec import DType
from qdsl.spec.plan import Origin

_ALL = "layers all"


def check_conflicts(context: Context, changes: Iterable[Edit], bare: frozenset[str]) -> None:
    """Report every pair of contradicting rules, once per pair: `keep` against `layers`, and a `place` that quantizes
    against activations in float32."""
    _kept_and_typed(context)
    for origin in sorted({change.origin for change in changes if change.pair and change.tensor in bare}):
        tensors = sorted({c.tensor for c in changes if c.pair and c.tensor in bare and c.origin == origin})
        voice = _bare_voice(context, tensors[0])
        if voice is None:
            context.diags.add(_left_by_mode(context, origin, tensors[0]))
            continue
        context.diags.add(
            Diagnostic(
                "rule-conflict",
                f"`{origin.rule}` puts Q/DQ on a tensor that another rule keeps in float32",
                voice,
                f"`{tensors[0]}` stays float by this rule, {origin.place(context.origins.recipe.name)} quantizes it",
                ("take the tensor out of one of the two rules",),
            )
        )


def _kept_and_typed(context: Context) -> None:
    cascade = context.cascade
    pairs: dict[tuple[int, int], list[int]] = {}
    for node in context.kept:
        rules = cascade.node_rules[node]
        keeps = [i for i in rules if isinstance(cascade.spoken[i].rule, KeepRule)]
        for i in rules:
            if _types(cascade.spoken[i]) is not None and not _everything(context, cascade.spoken[i]):
                pairs.setdefault((keeps[-1], i), []).append(node)
    for (keep, layers), nodes in sorted(pairs.items()):
        context.diags.add(_kept_conflict(context, cascade, keep, layers, nodes))


def _everything(context: Context, spoken: Spoken) -> bool:
    """`layers all` speaks, like the mode, of whatever no `keep` takes out; of nothing, where all is kept."""
    return spoken.origin.rule == _ALL and len(context.kept) < len(context.view.nodes)


def _kept_conflict(context: Context, cascade: Cascade, keep: int, layers: int, nodes: list[int]) -> Diagnostic:
    kept, typed = cascade.spoken[keep], cascade.spoken[layers]
    first = context.view.nodes[min(nodes)].name
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return Diagnostic(
        "rule-conflict",
        f"`{kept.origin.rule}` and `{typed.origin.rule}` ask for opposite things",
        _types(typed),
        f"quantizes `{first}`{more}, which {kept.origin.place(context.origins.recipe.name)} keeps in float",
        (_cure(kept.origin.rule.removeprefix("keep "), typed.origin.rule.removeprefix("layers ")),),
        (f"the other rule is at {kept.rule.span}",),
    )


def _cure(kept: str, typed: str) -> str:
    if kept == typed:
        return "remove one of the two: they pick the same nodes"
    return f"exclude them here: `layers {typed} and not ({kept})`"


def _types(spoken: Spoken) -> Span | None:
    """Where a `layers` rule asks for an integer type; None when it does not."""
    if not isinstance(spoken.rule, LayersRule):
        return None
    asked = (spoken.rule.settings.weights, spoken.rule.settings.activations)
    return next((request.span for request in asked if request is not None and _integer(request)), None)


def _integer(request: TypeRequest) -> bool:
    dtype: DType | None = request.dtype
    return dtype is None or dtype.quantized


def _left_by_mode(context: Context, origin: Origin, tensor: str) -> Diagnostic:
    """Nobody speaks of the tensor: `quantize float` leaves it in float32."""
    return Diagnostic(
        "rule-conflict",
        f"`{origin.rule}` puts Q/DQ on a tensor that `quantize float` leaves in float32",
        context.cascade.mode.span,
        f"nothing says of what type `{tensor}` is, which {origin.place(context.origins.recipe.name)} quantizes",
        (f'give it one: `layers tensor "{tensor}" {{ activations uint8 }}`',),
    )


def _bare_voice(context: Context, tensor: str) -> Span | None:
    asked = context.asked("activations", tensor, context.speakers(tensor, ()))
    return asked.voices[-1].span if asked.voices else None
