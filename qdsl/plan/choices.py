"""Carry out what measurements chose: nodes in float, nodes with one scale around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qdsl.capability.alternatives import IN_FLOAT
from qdsl.plan.context import Context
from qdsl.plan.types import Choice, Origin


def with_choices(context: Context, choices: Iterable[Choice]) -> Context:
    """The context under `choices`, whose nodes no rule of the recipe keeps or types."""
    edits = {row.name: row.edit for row in context.capability.alternatives}
    kept: dict[int, Origin] = {}
    shared: list[int] = []
    for choice in choices:
        nodes = [context.view.node_index[name] for name in choice.nodes]
        if edits[choice.alternative] == IN_FLOAT:
            why = Origin(f"{choice.origin.rule} {choice.evidence}", choice.origin.file, choice.origin.line)
            kept |= dict.fromkeys(nodes, why)
        else:
            shared += nodes
    if not kept and not shared:
        return context
    return replace(context, kept={**kept, **context.kept}, shared=tuple(shared), _folds={})
