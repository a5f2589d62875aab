"""One thing that a file and a recipe do not have in common, and the finding that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qdsl.auditing.asked import Asked
from qdsl.auditing.finding import Finding, Place
from qdsl.cascade.rule_words import Origins
from qdsl.diag import Severity, Span
from qdsl.spec.plan import Origin

_WHY = "the file is not what the recipe describes: who reviews the recipe reviews another build"


class Port(NamedTuple):
    """A place that reads a value: an input of a node, or the graph output called `output`."""

    node: str
    port: int
    output: str = ""

    @property
    def words(self) -> str:
        return self.node or f"the output {self.output}"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that file and recipe do not have in common: what is said of it, the first place where it shows, the
    tensor, further nodes, and the recipe's line."""

    message: str
    place: Port
    tensor: str
    also: tuple[str, ...]
    origin: Origin
    line: Span | None


def difference(asked: Asked, what: str, places: Sequence[Port], tensor: str, origin: Origin) -> Difference:
    """What is said of `places`, of which the first stands for all, at the line that `origin` names."""
    first, *more = places
    also = tuple(dict.fromkeys(place.node for place in more if place.node and place.node != first.node))
    return Difference(what, first, tensor, also, origin, Origins(asked.recipe).span(origin))


def told(rule: str, severity: Severity, found: Difference) -> Finding:
    """The finding, at the node that reads it, or at the tensor of a graph output."""
    node = Place("node", found.place.node, found.place.port) if found.place.node else None
    tensor = Place("tensor", found.tensor) if found.tensor else None
    others = tuple(Place("node", name) for name in found.also)
    return Finding(
        rule,
        severity,
        node or tensor or Place("file"),
        found.message,
        _WHY,
        also=(*others, tensor) if node and tensor else others,
        origin=str(found.origin),
        line=found.line,
    )
