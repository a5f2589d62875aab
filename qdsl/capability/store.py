"""Constants of operators without integer kernels, which may be stored as integers all the same (`storage_only`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.graph.view import NodeView
from qdsl.spec.bounds import Count, Many, Sentence, SomeTexts


@dataclass(frozen=True, slots=True)
class Store:
    """One rule of a table: `ops` of `domain` ("": those of ONNX) read weights at `ports`, whose channels stand along
    `axis`, below 0 from the last on. `by_equation`: along the last axis that the equation of an Einsum takes from this
    weight alone, if there is one."""

    name: Sentence
    ops: SomeTexts
    ports: Annotated[tuple[Count, ...], Many(1)]
    axis: int
    because: Sentence
    evidence: Sentence
    by_equation: bool = False
    domain: str = ""

    def channels(self, node: NodeView, port: int, rank: int) -> int | None:
        """The axis of channels of a weight with `rank` axes; None for one that has too few, such as a vector."""
        axis = self.axis + rank if self.axis < 0 else self.axis
        if self.by_equation:
            axis = next(iter(_own_axes(str(node.attrs.get("equation", "")), port, rank)), axis)
        return axis if 0 <= axis < rank and rank > 1 else None


def _own_axes(equation: str, port: int, rank: int) -> list[int]:
    """The axes of the operand at `port` that stand in the output and in no other operand, the last first."""
    inputs, _, written = "".join(equation.split()).partition("->")
    terms = inputs.split(",")
    if port >= len(terms):
        return []
    before, _, behind = terms[port].partition("...")
    places = [*enumerate(before), *enumerate(behind, rank - len(behind))]
    others = "".join(term for at, term in enumerate(terms) if at != port)
    kept = written if "->" in equation else terms[port]
    return [axis for axis, label in reversed(places) if label in kept and label not in others]
