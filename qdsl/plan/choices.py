"""Carry out what measurements chose: nodes in float, nodes with one scale around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qdsl.capability import Capability
from qdsl.capability.alternatives import BY_TIMING, IN_FLOAT
from qdsl.diag import Diagnostic, Diagnostics, Severity
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Recipe
from qdsl.plan.context import Context
from qdsl.spec.plan import Choice, Origin


def in_order(choices: Iterable[Choice], view: GraphView) -> tuple[Choice, ...]:
    """The choices in the one order that a plan has them in, measured or from a lock: nodes of the same alternative and
    evidence together, in graph order."""
    nodes: dict[tuple[str, str, Origin], set[str]] = {}
    for choice in choices:
        nodes.setdefault((choice.alternative, choice.evidence, choice.origin), set()).update(choice.nodes)
    return tuple(
        Choice(name, tuple(sorted(nodes[name, evidence, origin], key=view.node_index.__getitem__)), evidence, origin)
        for name, evidence, origin in sorted(nodes)
    )


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


def tell_untunable(recipe: Recipe, table: Capability, diags: Diagnostics) -> None:
    """A warning where `tune` asks for choices that the target's table does not have."""
    if recipe.tune is None or any(row.decided_by == BY_TIMING for row in table.alternatives):
        return
    headline = f"`tune {recipe.tune.goal}` has nothing to choose on {table.title}"
    label = "the target's table names no alternatives"
    diags.add(Diagnostic("setting-unused", headline, recipe.tune.span, label, severity=Severity.WARNING))
