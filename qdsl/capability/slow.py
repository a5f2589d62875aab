"""Forms of weights that a kernel takes and computes with slowly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from qdsl.spec import Scheme

KINDS = ("symmetric", "affine")
GRANULARITIES = ("per_tensor", "per_channel")
NODES = ("any", "depthwise")


@dataclass(frozen=True, slots=True)
class Slow:
    """One rule of a table: weights of `kind` and `granularity` are slow in `kernels`, at all nodes or at those that
    `nodes` names; `because` says how slow, `instead` is the form to write."""

    name: str
    kernels: tuple[str, ...]
    nodes: str
    kind: str
    granularity: str
    instead: str
    because: str
    evidence: str

    def speaks_of(self, scheme: Scheme) -> bool:
        """Whether weights of `scheme` have this form."""
        kind = "symmetric" if scheme.symmetric else "affine"
        return not scheme.storage_only and (kind, scheme.granularity.value) == (self.kind, self.granularity)


class TableLike(Protocol):
    """The part of a table being read that is needed here."""

    def word(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str: ...
    def texts(self, key: str) -> tuple[str, ...]: ...
    def sentence(self, key: str) -> str: ...
    def done(self) -> None: ...
    def fail(self, message: str) -> Exception: ...


def read_slow(tables: Iterable[TableLike]) -> tuple[Slow, ...]:
    """The rows `[[slow]]`. Raises the table's error where one is not well formed."""
    return tuple(_slow(table) for table in tables)


def _slow(table: TableLike) -> Slow:
    made = Slow(
        name=table.sentence("name"),
        kernels=table.texts("kernels"),
        nodes=table.word("nodes", NODES, "any"),
        kind=table.word("kind", KINDS),
        granularity=table.word("granularity", GRANULARITIES),
        instead=table.sentence("instead"),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    if not made.kernels:
        raise table.fail("`kernels` is empty")
    return made
