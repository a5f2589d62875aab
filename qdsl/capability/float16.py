"""What a target does with float16: computes in it, stores it and computes in float32, or had better keep float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qdsl.spec import DTYPES

if TYPE_CHECKING:
    from qdsl.graph.view import NodeView

RUNS_HALF, RUNS_FLOAT, KEPT = "float16", "float32", "kept"
_ANY_OP = "*"


@dataclass(frozen=True, slots=True)
class Float16Row:
    """One rule of a table. `runs`: "float16" (has a kernel, and runs in it unless its neighbours draw it into
    float32), "float32" (stored as float16, widened by the runtime before it computes) or "kept" (its values would
    leave float16's range, or lose too much: it stays float32). `copies`: it only moves values."""

    name: str
    ops: tuple[str, ...]
    runs: str
    copies: bool
    because: str
    evidence: str


class TableLike(Protocol):
    """The part of a table being read that is needed here."""

    where: str

    def texts(self, key: str) -> tuple[str, ...]: ...
    def sentence(self, key: str) -> str: ...
    def flag(self, key: str, default: bool | None = None) -> bool: ...
    def word(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str: ...
    def number(self, key: str, default: int | None = None) -> int: ...
    def left(self) -> tuple[str, ...]: ...
    def done(self) -> None: ...
    def fail(self, message: str) -> Exception: ...


def read_halves(tables: Iterable[TableLike]) -> tuple[Float16Row, ...]:
    """The rows `[[half]]`. Raises the table's error where one is not well formed."""
    return tuple(_half(table) for table in tables)


def _half(table: TableLike) -> Float16Row:
    made = Float16Row(
        name=table.sentence("name"),
        ops=table.texts("ops"),
        runs=table.word("runs", (RUNS_HALF, RUNS_FLOAT, KEPT)),
        copies=table.flag("copies", False),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    if not made.ops:
        raise table.fail("`ops` is empty")
    return made


def read_multiples(table: TableLike) -> Mapping[str, int]:
    """Whole numbers by number type."""
    unknown = [word for word in table.left() if word not in DTYPES]
    if unknown:
        raise table.fail(f"{unknown[0]!r} is no number type")
    return {word: table.number(word) for word in table.left()}


def float16_for(rows: Iterable[Float16Row], node: NodeView) -> Float16Row | None:
    """The first row that names the operator of `node`, or every operator; None when the table has none."""
    return next((row for row in rows if node.op in row.ops or row.ops == (_ANY_OP,)), None)
