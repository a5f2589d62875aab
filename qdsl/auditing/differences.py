"""Differences between a file and a recipe as findings."""

from __future__ import annotations

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.held import Difference
from qdsl.diag import Severity

_WHY = "the file is not what the recipe describes: a review of the recipe says nothing of it"


def told(rule: str, severity: Severity, found: Difference) -> Finding:
    """The finding, at the node that reads it, or at the tensor of a graph output."""
    node = Place("node", found.place.node, found.place.port) if found.place.node else None
    tensor = Place("tensor", found.tensor)
    others = tuple(Place("node", name) for name in found.also)
    return Finding(
        rule,
        severity,
        node or tensor,
        found.message,
        _WHY,
        also=(*others, tensor) if node else others,
        origin=str(found.origin),
        line=found.line,
    )
