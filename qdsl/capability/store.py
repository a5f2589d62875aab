"""Constants of operators without integer kernels, which may be stored as integers all the same (`storage_only`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Store:
    """One rule of a table: `ops` read weights at `ports`, whose channels stand along `axis`."""

    name: str
    ops: tuple[str, ...]
    ports: tuple[int, ...]
    axis: int
    because: str
    evidence: str


class TableLike(Protocol):
    """The part of a table being read that is needed here."""

    def texts(self, key: str) -> tuple[str, ...]: ...
    def numbers(self, key: str) -> tuple[int, ...]: ...
    def number(self, key: str, default: int | None = None) -> int: ...
    def sentence(self, key: str) -> str: ...
    def done(self) -> None: ...
    def fail(self, message: str) -> Exception: ...


def read_stores(tables: Iterable[TableLike]) -> tuple[Store, ...]:
    """The rows `[[store]]`. Raises the table's error where one is not well formed."""
    return tuple(_store(table) for table in tables)


def _store(table: TableLike) -> Store:
    made = Store(
        name=table.sentence("name"),
        ops=table.texts("ops"),
        ports=table.numbers("ports"),
        axis=table.number("axis"),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    if not made.ops or not made.ports or made.axis < 0:
        raise table.fail("`ops` or `ports` is empty, or `axis` is negative")
    return made
