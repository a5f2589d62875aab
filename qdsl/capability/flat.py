"""Where an operator's answer no longer depends on what it reads: what lies there needs no integers of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

FAR, BEYOND, ROWS = "far", "exact", "rows"


@dataclass(frozen=True, slots=True)
class Flat:
    """One rule of a table, for the first input of `ops`. `kind`: "far" (so near its limit below `low` and above `high`
    that no stored value tells the difference), "exact" (the node's own limits say where) or "rows" (what lies far
    enough below the largest value of its row). `gated`: it is 0 or next to it there, so that x * op(x) is
    flat below the same bound."""

    name: str
    ops: tuple[str, ...]
    kind: str
    low: float | None
    high: float | None
    gated: bool
    because: str
    evidence: str


class TableLike(Protocol):
    """The part of a table being read that is needed here."""

    def texts(self, key: str) -> tuple[str, ...]: ...
    def sentence(self, key: str) -> str: ...
    def word(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str: ...
    def flag(self, key: str, default: bool | None = None) -> bool: ...
    def real(self, key: str) -> float | None: ...
    def done(self) -> None: ...
    def fail(self, message: str) -> Exception: ...


def read_flats(tables: Iterable[TableLike]) -> tuple[Flat, ...]:
    """The rows `[[flat]]`. Raises the table's error where one is not well formed."""
    return tuple(_flat(table) for table in tables)


def _flat(table: TableLike) -> Flat:
    made = Flat(
        name=table.sentence("name"),
        ops=table.texts("ops"),
        kind=table.word("kind", (FAR, BEYOND, ROWS)),
        low=table.real("low"),
        high=table.real("high"),
        gated=table.flag("gated", False),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    bounded = made.low is not None or made.high is not None
    if not made.ops or bounded != (made.kind == FAR):
        raise table.fail("`ops` is empty, or `low` and `high` are not those of kind `far`")
    if made.low is not None and made.high is not None and made.low >= made.high:
        raise table.fail("`low` must lie under `high`")
    return made
