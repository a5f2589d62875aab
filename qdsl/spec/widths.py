"""What `allocate weights` had to choose from and what it chose, as data: `allocation.json` of a build."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

from qdsl.spec.bounds import Count, Figure, Many, Sentence, Whole
from qdsl.spec.decode import decode, json_data, require_version

NAME = "allocation.json"
VERSION = 1
_MOST = 1 << 21
Bytes = Annotated[int, Whole(-(1 << 62), 1 << 62)]


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """One choice of a unit: what it loses, and the bytes it adds to the float model or takes from it."""

    choice: Sentence
    loss: Figure
    bytes: Bytes


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A weight, by the first node that reads it, and what was chosen for it."""

    node: str
    chosen: Sentence
    options: Annotated[tuple[OptionFacts, ...], Many(0, 1000)]


@dataclass(frozen=True, slots=True)
class Allocation:
    """`sizes` and `losses` are the frontier by rising size: no assignment is as small and loses less. Its sizes are
    those of files that are short of the sum over their layers by as much as the chosen one is. Both are empty where
    the frontier was too large to follow, which `incomplete` then says."""

    target: str
    units: Annotated[tuple[UnitFacts, ...], Many(0, _MOST)]
    size: Count
    loss: Figure
    sizes: Annotated[tuple[Count, ...], Many(0, _MOST)]
    losses: Annotated[tuple[Figure, ...], Many(0, _MOST)]
    incomplete: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    version: int
    targets: Annotated[tuple[Allocation, ...], Many(0, 100)]


def to_json(found: tuple[Allocation, ...]) -> str:
    """Sorted by target."""
    rows = [asdict(each) for each in sorted(found, key=lambda each: each.target)]
    return json.dumps({"version": VERSION, "targets": rows}, indent=1)


def from_json(text: str) -> tuple[Allocation, ...]:
    """What `to_json` wrote. Raises UnfitError for any other text."""
    return decode(_File, {**require_version(json_data(text), "version", VERSION), "version": VERSION}).targets
