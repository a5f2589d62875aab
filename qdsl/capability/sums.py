"""On which kinds of CPU a target's integer kernels add their products exactly, and what keeps a weight exact on the
others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from qdsl.spec import DType
from qdsl.spec.bounds import Many, OneOf, Sentence, SomeTexts

PAIRS = "pairs"
LOWEST = "lowest"
ANY = "any"


@dataclass(frozen=True, slots=True)
class Cpu:
    """A kind of CPU: `isa` are the instruction sets of which it has one, as /proc/cpuinfo spells them; none for what is
    left of its `family` ("x86", "arm")."""

    name: Sentence
    title: Sentence
    family: Sentence
    isa: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sums:
    """How some kernels add products of a weight stored as one of `weights`.

    `exact_on` names the kinds of CPU on which they do so exactly. On another, `faults` says what goes wrong: "pairs"
    (two neighbours are added in saturating int16), "lowest" (the product of two lowest integers wraps). `order` is the
    order in which a kernel adds: of a Conv its channels last or first, "rows" of a matrix. `spares` are nodes that
    other kernels compute ("depthwise", where the weight has one zero point). `option` is the session option with which
    the runtime itself is exact everywhere.
    """

    kernels: SomeTexts
    weights: Annotated[tuple[DType, ...], Many(1)]
    order: Annotated[str, OneOf(("channels_last", "channels_first", "rows"))]
    because: Sentence
    evidence: Sentence
    exact_on: tuple[str, ...] = ()
    faults: Mapping[str, Annotated[str, OneOf((PAIRS, LOWEST))]] = field(default_factory=dict)
    spares: tuple[str, ...] = ()
    option: str = ""

    def faults_on(self, cpus: Collection[str]) -> frozenset[str]:
        """What can go wrong on any of `cpus`."""
        return frozenset(fault for cpu, fault in self.faults.items() if cpu in cpus)


def named(cpus: Iterable[Cpu], words: Collection[str]) -> frozenset[str]:
    """The kinds of CPU that a recipe's words mean: `any` is all of them, and a family without an instruction set
    (`x86`) includes those with one."""
    known = tuple(cpus)
    if not words or ANY in words:
        return frozenset(cpu.name for cpu in known)
    whole = {cpu.family for cpu in known if cpu.name in words and not cpu.isa}
    return frozenset(cpu.name for cpu in known if cpu.name in words or cpu.family in whole)
