"""The targets there are, with their tables, for people and for `qdsl targets`."""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.capability import Row, load, names
from qdsl.diag import Diagnostic, QdslError, nearest

# Target name in a recipe -> the table that speaks for it, where the two differ.
_TABLES = {"ort": "ort_cpu"}


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """A target: its name in recipes, what it is, its table, and the runtime the table was checked with."""

    name: str
    title: str
    table: str
    evidence: str


def table_of(target: str) -> str:
    """The name of the capability table of a target."""
    return _TABLES.get(target, target)


def available() -> tuple[TargetInfo, ...]:
    """Every target that has a table, by name."""
    spoken_for = {table: name for name, table in _TABLES.items()}
    found = []
    for table in names():
        capability = load(table)
        found.append(TargetInfo(spoken_for.get(table, table), capability.title, table, capability.evidence))
    return tuple(sorted(found, key=lambda target: target.name))


def rows(target: str) -> tuple[Row, ...]:
    """The rows of a target's table, in the order in which they are tried. Raises QdslError for an unknown target."""
    known = [info.name for info in available()]
    if target in known:
        return load(table_of(target)).rows
    close = nearest(target, known) or tuple(known)
    raise QdslError(
        [
            Diagnostic(
                "target-absent",
                f"there is no target `{target[:80]}`",
                help=(f"the targets are {', '.join(f'`{name}`' for name in close)}",),
            )
        ]
    )
