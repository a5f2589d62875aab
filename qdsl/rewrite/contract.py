"""What a pass is, what it reports, and the record of a run. Nothing here needs numpy or onnx."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from qdsl.graph.model import Model
    from qdsl.spec.plan import BiasPlan, TensorPlan, WeightPlan

# A fact about a graph, called by the name of its function: it yields what breaks it, nothing where it holds, in time
# linear in the size of the graph.
Fact: TypeAlias = "Callable[[Model], Iterator[str]]"


class PairsPlan(Protocol):
    """The part of a plan that says who reads integers."""

    @property
    def tensors(self) -> Sequence[TensorPlan]: ...

    @property
    def weights(self) -> Sequence[WeightPlan]: ...

    @property
    def biases(self) -> Sequence[BiasPlan]: ...


@dataclass(frozen=True, slots=True)
class PlanFact:
    """A fact about a graph in which a plan was carried out, called `name`. `broken` yields what breaks it, of a model
    and its plan; the third are the nodes that passes changed since: what they read and write is their own."""

    name: str
    broken: Callable[[Model, PairsPlan, Collection[str]], Iterator[str]]


class Fired(NamedTuple):
    """A rule that changed the graph, and the nodes it changed (names before the change)."""

    rule: str
    nodes: tuple[str, ...]


class Refused(NamedTuple):
    """A node of the right shape that was left alone, and why."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did: every edit, and every near miss."""

    fired: tuple[Fired, ...] = ()
    refused: tuple[Refused, ...] = ()


class Pass(Protocol):
    """A rewrite of the whole model, in place.

    The runner checks the facts of `requires` before and of `ensures` after. A pass that requires a fact of a plan may
    change it around the nodes that it reports, and nowhere else. `apply` returns what it did; it raises QdslError only
    for input that is wrong.
    """

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def requires(self) -> tuple[Fact | PlanFact, ...]: ...

    @property
    def ensures(self) -> tuple[Fact | PlanFact, ...]: ...

    def apply(self, model: Model) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Base of passes that are dataclasses: prints as `name{option=value}`, or `name` without options."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    requires: ClassVar[tuple[Fact | PlanFact, ...]] = ()
    ensures: ClassVar[tuple[Fact | PlanFact, ...]] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        return f"{self.name}{{{options}}}" if options else self.name


@dataclass(frozen=True, slots=True)
class Step:
    """One pass of a run, as it printed itself, and its outcome."""

    name: str
    outcome: Outcome

    @property
    def word(self) -> str:
        """The pass's name, without its options."""
        return self.name.partition("{")[0]


@dataclass(frozen=True, slots=True)
class Trace:
    """What a run did, pass by pass."""

    steps: tuple[Step, ...] = ()

    @property
    def edits(self) -> int:
        """How often any rule fired."""
        return sum(len(step.outcome.fired) for step in self.steps)

    @property
    def counts(self) -> dict[str, int]:
        """How often each rule fired, by rule name."""
        return dict(sorted(Counter(fired.rule for step in self.steps for fired in step.outcome.fired).items()))

    @property
    def refused(self) -> tuple[Refused, ...]:
        return tuple(refused for step in self.steps for refused in step.outcome.refused)

    def at(self, node: str) -> tuple[Fired, ...]:
        """Everything that happened to the node called `node`."""
        return tuple(fired for step in self.steps for fired in step.outcome.fired if node in fired.nodes)

    def __str__(self) -> str:
        """One line per pass: how often each of its rules fired, and what it refused."""
        return "\n".join(_line(step) for step in self.steps)


def _line(step: Step) -> str:
    counts = Counter(fired.rule for fired in step.outcome.fired)
    done = ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items())) or "nothing to do"
    refused = len(step.outcome.refused)
    return f"{step.name}: {done}" + (f"; {refused} refused" if refused else "")


class Changes:
    """Collects an Outcome while a pass runs."""

    def __init__(self) -> None:
        self._fired: list[Fired] = []
        self._refused: list[Refused] = []

    def fire(self, rule: str, nodes: Iterable[str]) -> None:
        self._fired.append(Fired(rule, tuple(nodes)))

    def refuse(self, node: str, reason: str) -> None:
        self._refused.append(Refused(node, reason))

    def outcome(self) -> Outcome:
        return Outcome(tuple(self._fired), tuple(self._refused))


class ContractError(AssertionError):
    """A pass found or left the graph in a state that its contract excludes: a fault of the program, not of the
    input."""
