"""The order in which findings are told: grave ones first, then as their places follow each other in the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.report import LEVELS
from qdsl.graph.view import GraphView


def in_order(found: Iterable[Finding], view: GraphView) -> tuple[Finding, ...]:
    """`found` by severity, then by where they stand in the graph `view` of the file; what is equal stays in order."""
    place = _place_in(view)
    return tuple(sorted(found, key=lambda each: (LEVELS.index(each.severity), place(each.place), each.place.name)))


def _place_in(view: GraphView) -> Callable[[Place], int]:
    nodes = view.node_index
    end = len(view.nodes)

    def at(place: Place) -> int:
        if place.kind == "file":
            return -1
        if place.kind == "node":
            return nodes.get(place.name, end)
        tensor = view.tensors.get(place.name)
        if tensor is None:
            return end
        if tensor.producer is not None:
            return tensor.producer
        return min((use.node for use in tensor.uses), default=end)

    return at
