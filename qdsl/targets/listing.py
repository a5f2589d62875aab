"""The targets there are, with their tables, for people and for `qdsl targets`."""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.capability import Row, load
from qdsl.targets import TARGETS, target_of


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """A target: its name in recipes, what it is, its table, and the runtime the table was checked with."""

    name: str
    title: str
    table: str
    evidence: str


def available() -> tuple[TargetInfo, ...]:
    """Every target of the index, by name."""
    found = []
    for name in sorted(TARGETS):
        table = target_of(name).table
        capability = load(table)
        found.append(TargetInfo(name, capability.title, table, capability.evidence))
    return tuple(found)


def rows(target: str) -> tuple[Row, ...]:
    """The rows of a target's table, in the order in which they are tried. Raises QdslError for an unknown target."""
    return load(target_of(target).table).rows
