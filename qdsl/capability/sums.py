"""On which kinds of CPU a target's integer kernels add their products exactly, and what keeps a weight exact on the
others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from qdsl.spec import DTYPES, DType

PAIRS = "pairs"
LOWEST = "lowest"
FAULTS = (PAIRS, LOWEST)
ORDERS = ("channels_last", "channels_first", "rows")
ANY = "any"


@dataclass(frozen=True, slots=True)
class Cpu:
    """A kind of CPU: `isa` are the instruction sets of which it has one, as /proc/cpuinfo spells them; none for what is
    left of its `family` ("x86", "arm")."""

    name: str
    title: str
    family: str
    isa: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """How some kernels add products of a weight stored as one of `weights`.

    `exact_on` names the kinds of CPU on which they do so exactly. On another, `faults` says what goes wrong: "pairs"
    (two neighbours are added in saturating int16), "lowest" (the product of two lowest integers wraps). `order` is the
    order in which a kernel adds: of a Conv its channels last or first, "rows" of a matrix. `spares` are nodes that
    other kernels compute ("depthwise", where the weight has one zero point). `option` is the session option with which
    the runtime itself is exact everywhere.
    """

    kernels: tuple[str, ...]
    weights: tuple[DType, ...]
    order: str
    exact_on: tuple[str, ...]
    faults: tuple[tuple[str, str], ...]
    spares: tuple[str, ...]
    option: str
    because: str
    evidence: str

    def faults_on(self, cpus: Collection[str]) -> frozenset[str]:
        """What can go wrong on any of `cpus`."""
        return frozenset(fault for cpu, fault in self.faults if cpu in cpus)


def named(cpus: Iterable[Cpu], words: Collection[str]) -> frozenset[str]:
    """The kinds of CPU that a recipe's words mean: `any` is all of them, and a family without an instruction set
    (`x86`) includes those with one."""
    known = tuple(cpus)
    if not words or ANY in words:
        return frozenset(cpu.name for cpu in known)
    whole = {cpu.family for cpu in known if cpu.name in words and not cpu.isa}
    return frozenset(cpu.name for cpu in known if cpu.name in words or cpu.family in whole)


class TableLike(Protocol):
    """The part of a table being read that is needed here."""

    def text(self, key: str, default: str | None = None) -> str: ...
    def word(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str: ...
    def texts(self, key: str) -> tuple[str, ...]: ...
    def sentence(self, key: str) -> str: ...
    def table(self, key: str) -> TableLike: ...
    def left(self) -> tuple[str, ...]: ...
    def done(self) -> None: ...
    def fail(self, message: str) -> Exception: ...


def read_cpus(tables: Iterable[TableLike]) -> tuple[Cpu, ...]:
    """The kinds `[[cpu]]`. Raises the table's error where one is not well formed."""
    return tuple(_cpu(table) for table in tables)


def read_sums(tables: Iterable[TableLike], cpus: tuple[Cpu, ...]) -> tuple[Sums, ...]:
    """The rules `[[sums]]`. Raises the table's error where one is not well formed."""
    return tuple(_sums(table, frozenset(cpu.name for cpu in cpus)) for table in tables)


def _cpu(table: TableLike) -> Cpu:
    made = Cpu(table.sentence("name"), table.sentence("title"), table.sentence("family"), table.texts("isa"))
    table.done()
    return made


def _sums(table: TableLike, cpus: frozenset[str]) -> Sums:
    faults = table.table("faults")
    made = Sums(
        kernels=table.texts("kernels"),
        weights=tuple(_dtype(table, word) for word in table.texts("weights")),
        order=table.word("order", ORDERS),
        exact_on=table.texts("exact_on"),
        faults=tuple((cpu, faults.word(cpu, FAULTS)) for cpu in faults.left()),
        spares=table.texts("spares"),
        option=table.text("option", ""),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    if not made.kernels or not made.weights:
        raise table.fail("`kernels` or `weights` is empty")
    spoken = [*made.exact_on, *(cpu for cpu, _ in made.faults)]
    if len(spoken) != len(set(spoken)) or set(spoken) != cpus:
        raise table.fail("`exact_on` and `faults` name each `[[cpu]]` once")
    return made


def _dtype(table: TableLike, word: str) -> DType:
    if word not in DTYPES:
        raise table.fail(f"{word!r} is no number type")
    return DTYPES[word]
