"""What `allocate weights` and `allocate activations` had to choose from and what they chose, as data: a part of
`allocation-<target>.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec.bounds import Count, Figure, Many, Sentence, Whole

_MOST = 1 << 21
Cost = Annotated[int, Whole(-(1 << 62), 1 << 62)]


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """One choice of a unit: what it loses, and what it costs: the bytes it adds to the float model or takes from it, or
    another measure."""

    choice: Sentence
    loss: Figure
    cost: Cost


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A weight, by the first node that reads it, or a tensor, and what was chosen for it."""

    node: str
    chosen: Sentence
    options: Annotated[tuple[OptionFacts, ...], Many(0, 1000)]


@dataclass(frozen=True, slots=True)
class Allocation:
    """`sizes` and `losses` are the frontier by rising size: no assignment is as small and loses less. Its sizes are
    those of files that are short of the sum over their layers by as much as the chosen one is. Both are empty where
    the frontier was too large to follow, which `incomplete` then says.

    `measure` is what sizes are of: the bytes of the file, or the sum of `activation_bits` over the elements that are
    quantized (`each` of them), or `bops`."""

    target: str
    units: Annotated[tuple[UnitFacts, ...], Many(0, _MOST)]
    size: Count
    loss: Figure
    sizes: Annotated[tuple[Count, ...], Many(0, _MOST)]
    losses: Annotated[tuple[Figure, ...], Many(0, _MOST)]
    incomplete: str = ""
    measure: Sentence = "size"
    each: Annotated[int, Whole(1, 1 << 62)] = 1
