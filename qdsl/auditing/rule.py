"""The contract of a rule: what it is told, and what it yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

from qdsl.auditing.finding import Finding
from qdsl.auditing.held import Held
from qdsl.capability import Capability
from qdsl.diag import Severity
from qdsl.finished.collapsed import Collapsed
from qdsl.finished.records import Finished, QuantizedTensor
from qdsl.spec.engine import EngineSeen
from qdsl.spec.plan import Prediction


@dataclass(frozen=True)  # without slots: what is derived is kept
class Audited:
    """What a rule looks at: the file, its float graph with the edges that carry integers, and what the target will run
    of it. `target` is the target's name, `capability` its table, `cpus` the kinds of CPU that are asked about.
    `predictions` are by node of `collapsed.view`. `held` is what file and recipe do not have in common, None where no
    recipe that decides anything was given. `engine` is what was seen of an engine that is built of the file, None where
    none was."""

    finished: Finished
    collapsed: Collapsed
    target: str
    capability: Capability
    predictions: Mapping[str, Prediction]
    cpus: frozenset[str]
    held: Held | None = None
    engine: EngineSeen | None = None

    @cached_property
    def by_tensor(self) -> Mapping[str, tuple[QuantizedTensor, ...]]:
        """The records of each float tensor, in graph order."""
        found: dict[str, list[QuantizedTensor]] = {}
        for each in self.finished.tensors:
            found.setdefault(each.tensor, []).append(each)
        return {name: tuple(records) for name, records in found.items()}


class Rule(Protocol):
    """One rule, in a file of its own under `qdsl/auditing/rules/`. `id` is snake_case and stable; `summary` one line,
    `explanation` what it means, on which target and why (`qdsl explain ID` shows it); `severity` the gravest that it
    tells. `targets` are those it speaks of, () for all. `check` yields findings of `audited` in graph order, in time
    linear in the graph."""

    id: ClassVar[str]
    summary: ClassVar[str]
    explanation: ClassVar[str]
    severity: ClassVar[Severity]
    targets: ClassVar[tuple[str, ...]]

    def check(self, audited: Audited) -> Iterator[Finding]: ...
