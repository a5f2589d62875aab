"""Constants of operators without integer kernels, which may be stored as integers all the same (`storage_only`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from qdsl.graph.view import NodeView


@dataclass(frozen=True, slots=True)
class Store:
    """One rule of a table: `ops` of `domain` ("": those of ONNX) read weights at `ports`, whose channels stand along
    `axis`, below 0 from the last on. `by_equation`: along the last axis that the equation of an Einsum takes from this
    weight alone, if there is one."""

    name: str
    ops: tuple[str, ...]
    ports: tuple[int, ...]
    axis: int
    because: str
    evidence: str
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


class TableLike(Protocol):
    """The part of a table being read that is needed here."""

    def texts(self, key: str) -> tuple[str, ...]: ...
    def numbers(self, key: str) -> tuple[int, ...]: ...
    def flag(self, key: str, default: bool) -> bool: ...
    def text(self, key: str, default: str | None = None) -> str: ...
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
        by_equation=table.flag("by_equation", False),
        domain=table.text("domain", ""),
    )
    table.done()
    if not made.ops or not made.ports:
        raise table.fail("`ops` or `ports` is empty")
    return made
