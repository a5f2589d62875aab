"""Nodes of which an engine says what they compute in, and what of them the file has in integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import standing
from qdsl.finished.records import QuantizedTensor, Role
from qdsl.graph.view import NodeView
from qdsl.spec.engine import EngineVerdict


@dataclass(frozen=True, slots=True)
class Seen:
    """A node with its verdict, and the records of the two factors that it multiplies; None for one in floats."""

    node: NodeView
    verdict: EngineVerdict
    factors: tuple[QuantizedTensor | None, QuantizedTensor | None]

    @property
    def weight(self) -> QuantizedTensor | None:
        """The factor that is a weight in integers."""
        return next((each for each in self.factors if each is not None and each.role is Role.WEIGHT), None)

    @property
    def in_integers(self) -> bool:
        """Whether both factors are quantized."""
        return None not in self.factors


def seen_nodes(audited: Audited) -> Iterator[Seen]:
    """The nodes of which the file has a factor in integers: its weights, or both."""
    if audited.engine is None:
        return
    stands = standing(audited)
    for node in audited.finished.view.nodes:
        verdict = audited.engine.verdicts.get(node.name)
        if verdict is None or len(node.inputs) < 2:
            continue
        found = Seen(node, verdict, (stands.read(node, 0), stands.read(node, 1)))
        if found.weight is not None or found.in_integers:
            yield found
