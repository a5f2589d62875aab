"""Operators that a target does not have, in words."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.graph.view import NodeView
from qdsl.spec.words import plain
from qdsl.targets.base import Lack

_SHOWN = 3


def operators_lacking(nodes: Sequence[NodeView], title: str, label: str, cure: str) -> tuple[Lack, ...]:
    """One lack for all of `nodes`, for which the target called `title` has no operator; none for no nodes."""
    if not nodes:
        return ()
    kinds = ", ".join(dict.fromkeys(f"`{operator(node)}`" for node in nodes[:_SHOWN]))
    first = f"`{plain(nodes[0].name[:80])}`" + (f" and {len(nodes) - 1} more" if len(nodes) > 1 else "")
    return (Lack(f"{title} has no operator {kinds}, which {first} of the model asks for", label, (cure,)),)


def operator(node: NodeView) -> str:
    """The operator of `node` as messages call it, with the domain where it has one."""
    name = plain(node.op[:80])
    return f"{plain(node.domain)}.{name}" if node.domain else name
