"""Selectors over a graph: which nodes, tensors or connections a rule of a recipe speaks of.

Results are in graph order. What matches nothing, or not as many as `expect` says, is an error in the report, at its
place in the recipe; the result is then empty. Every selector takes time linear in the graph.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.diag import Diagnostics
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Edge
from qdsl.lang.selectors import Picks
from qdsl.select.empty import empty, miscount
from qdsl.select.nodes import NODES, TENSORS, Evaluator, counted, kinds

__all__ = ["names_tensors", "select_edges", "select_nodes", "select_tensors"]

_NO_SELECTS: Mapping[str, Picks] = {}


def select_nodes(
    picks: Picks, view: GraphView, diags: Diagnostics, *, selects: Mapping[str, Picks] = _NO_SELECTS
) -> tuple[int, ...]:
    """Node indices. `selects` maps names of the recipe's `select` statements, for a `Named` without a definition.

    Reports unknown-op, selector-empty, selector-count, selector-too-few, selector-no-path and (for selectors that name
    tensors) selector-kind.
    """
    found = _run(picks, view, diags, NODES, selects)
    return tuple(sorted(found))


def select_tensors(
    picks: Picks, view: GraphView, diags: Diagnostics, *, selects: Mapping[str, Picks] = _NO_SELECTS
) -> tuple[str, ...]:
    """Tensor names: graph inputs and what nodes write, no constants. Reports as `select_nodes` does."""
    evaluator = Evaluator(view, diags, TENSORS, selects)
    found = evaluator.picks(picks)
    return () if evaluator.failed else tuple(evaluator.names[i] for i in sorted(found))


def names_tensors(picks: Picks) -> bool:
    """Whether a selector names tensors (and nothing else) rather than nodes."""
    return kinds(picks) == {TENSORS}


def select_edges(
    edge: Edge, view: GraphView, diags: Diagnostics, *, selects: Mapping[str, Picks] = _NO_SELECTS
) -> tuple[tuple[int, int, int], ...]:
    """The connections from a node of the source to a node of the target: (producer, consumer, consumer's input port).

    The source may name tensors instead; a graph input has the producer -1. Reports as `select_nodes` does; a pair of
    selectors without a connection is selector-empty, and `expect` counts connections.
    """
    targets = _run(edge.target, view, diags, NODES, selects)
    if names_tensors(edge.source):
        sources = set(select_tensors(edge.source, view, diags, selects=selects))
    else:
        picked = _run(edge.source, view, diags, NODES, selects)
        sources = {name for index in picked for name in view.nodes[index].outputs if name}
    if not sources or not targets:
        return ()
    found = [
        (-1 if (producer := view.tensors[name].producer) is None else producer, use.node, use.port)
        for name in sources
        for use in view.tensors[name].uses
        if use.node in targets
    ]
    return tuple(sorted(found)) if _counted_right(edge, len(sources), len(targets), len(found), diags) else ()


def _counted_right(edge: Edge, sources: int, targets: int, found: int, diags: Diagnostics) -> bool:
    if found == 0 and edge.expect != 0:
        label = f"{counted(sources, TENSORS)} on the left, {counted(targets, NODES)} on the right, nothing between"
        help = ("an edge is a direct connection; `between A and B` picks the nodes on longer paths",)
        empty(diags, "connection", edge.span, label, help)
        return False
    if edge.expect is not None and found != edge.expect:
        help = (f"if that is meant, write `expect {found}`",)
        label = f"expected {edge.expect}, found {found}"
        miscount(diags, counted(found, "connection"), edge.expect, edge.span, label, help)
        return False
    return True


def _run(picks: Picks, view: GraphView, diags: Diagnostics, kind: str, selects: Mapping[str, Picks]) -> set[int]:
    evaluator = Evaluator(view, diags, kind, selects)
    found = evaluator.picks(picks)
    return set() if evaluator.failed else found
