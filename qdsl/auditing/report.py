"""What an audit comes to, as data: what every format tells. Standard library and floor 0 only, without a model.

A report speaks of one file, and in its sections of what each target makes of it. Names come from untrusted files: a
format shows them through `qdsl.spec.words.plain` or its own escaping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qdsl.auditing.finding import Finding
from qdsl.diag import Severity, Span
from qdsl.spec.engine import EngineSeen
from qdsl.spec.plan import Prediction

if TYPE_CHECKING:
    from qdsl.causes.records import Causes

# From grave to slight: the order in which findings are told.
LEVELS = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One tensor that the file holds or passes in integers; a float tensor that two QuantizeLinear nodes read has two.

    `role` is "activation", "weight" or "bias"; `form` how the file says it ("pair", "stored", "operator", ..).
    `element` is the type of the integers, `scale_element` that of the scale, `granularity` "per_tensor", "per_channel"
    or "per_block", with `axis` (from 0) and `block` (elements) where they mean something. `shape` has a number or a
    symbol per axis, None where it is not known. Of `scales` values the smallest is `scale_low` and the largest
    `scale_high`, None where they are computed at run time; `zero_low` and `zero_high` are the smallest and largest zero
    point, None where none is written or it is computed. `low` and `high` bound the integers in use where the file
    narrows them. `group` is equal for tensors that have the same parameters by value. `quantizers`, `dequantizers` and
    `between` are nodes of the file, `readers` (node, port), ("", -1) for a graph output; `stored` is the constant it is
    read from, "" for none. `origin` are the words of the recipe's line where the file has them.
    """

    tensor: str
    role: str
    form: str
    element: str
    scale_element: str
    granularity: str
    axis: int | None
    block: int | None
    shape: tuple[int | str | None, ...] | None
    scales: int
    scale_low: float | None
    scale_high: float | None
    zero_low: float | None
    zero_high: float | None
    low: int | None
    high: int | None
    group: str
    quantizers: tuple[str, ...]
    dequantizers: tuple[str, ...]
    between: tuple[str, ...]
    readers: tuple[tuple[str, int], ...]
    stored: str
    origin: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One operator of the float graph: the file's nodes without Q and DQ, in graph order. `inputs` and `outputs` are
    tensor names by port, "" for an absent one: drawn edges join an output to the inputs of the same name. `macs` are
    multiply-accumulates of one sample, None where they are not known."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of the file runs in integers on a target. `weighted` counts the nodes that multiply (MACs not 0),
    `weighted_integer` those of them that multiply integers, `ops` both by operator: (in integers, all); `macs` what is
    known of them in all, `integer_macs` in integers, `uncounted` the nodes whose MACs are not known. `runs` counts
    every node by what it runs as ("integer", "float", "float16", "absorbed", "moves")."""

    nodes: int
    weighted: int
    weighted_integer: int
    ops: Mapping[str, tuple[int, int]]
    macs: int
    integer_macs: int
    uncounted: int
    runs: Mapping[str, int]

    @property
    def share(self) -> float | None:
        """Share of the known MACs in integers, 0..1; None where the file multiplies nothing."""
        return self.integer_macs / self.macs if self.macs else None


@dataclass(frozen=True, slots=True)
class Waiver:
    """An `allow` of the recipe: `on` are the words of its selector, `because` its reason, `line` its place; `used` is
    how many findings it waived."""

    rule: str
    on: str
    because: str
    line: Span
    used: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """What one target makes of the file. `runs` has every node of the report by name, and those that
    the runtime computes when it loads the file; `floats` the names of those that
    multiply, and not integers, in graph order. `findings` are all that were
    found, the waived ones too, by severity, then in graph order; `waivers` the recipe's, in source order. `unmatched`
    counts what a recipe decided and could not be looked up in the file: it has no such node under that name. `matched`
    says whether it has any node of the recipe's. Both are None where no recipe decided anything. `engine` is what was
    seen of an engine that is built of the file, None where nobody looked."""

    target: str
    table: str
    cpus: tuple[str, ...]
    counts: Counts
    runs: Mapping[str, Prediction]
    floats: tuple[str, ...]
    findings: tuple[Finding, ...]
    waivers: tuple[Waiver, ...] = ()
    unmatched: int | None = None
    matched: bool | None = None
    engine: EngineSeen | None = None

    @property
    def multiplied(self) -> str:
        """What products are of that compute in no floats: "integers", "float8", or both."""
        narrow = (found for found in self.runs.values() if found.runs == "integer" and not found.float_products)
        kinds = {found.multiplies for found in narrow}
        return " and ".join(sorted(kinds, reverse=True)) or "integers"

    @property
    def standing(self) -> tuple[Finding, ...]:
        """The findings that no waiver allows."""
        return tuple(found for found in self.findings if not found.waived)

    def findings_of(self, rule: str) -> tuple[Finding, ...]:
        """What one rule found."""
        return tuple(found for found in self.findings if found.rule == rule)

    def by_node(self) -> dict[str, tuple[Finding, ...]]:
        """The findings that name each node, as their place or among `also`."""
        found: dict[str, dict[int, Finding]] = {}
        for number, each in enumerate(self.findings):
            for place in (each.place, *each.also):
                if place.kind == "node":
                    found.setdefault(place.name, {})[number] = each
        return {name: tuple(held.values()) for name, held in found.items()}

    def by_tensor(self) -> dict[str, tuple[Finding, ...]]:
        """The same for tensors."""
        found: dict[str, dict[int, Finding]] = {}
        for number, each in enumerate(self.findings):
            for place in (each.place, *each.also):
                if place.kind == "tensor":
                    found.setdefault(place.name, {})[number] = each
        return {name: tuple(held.values()) for name, held in found.items()}


@dataclass(frozen=True, slots=True)
class TensorError:
    """What rounding one tensor costs inside the graph, in dB of signal to noise: `own_db` what its rounding alone adds,
    `inherited_db` the error of the value that arrives before it is rounded. None where it was not measured."""

    own_db: float | None
    inherited_db: float | None = None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The audit of one file. `file` is the path as it was given, `sha256` of the model file itself, `bytes` its size
    with external data. `producer` is what the file says made it, `dialects` (name, what shows it) what it looks like;
    `opsets` by domain. `inputs` and `outputs` are the graph's; `types` is "float32 [1, 3, 640, 640]" for every tensor
    that an edge can carry. `recipe` is the path of the recipe it was held against, "" without one. `errors` are by the
    name of a quantized tensor, empty where nothing was measured; `causes` is where the error of the outputs comes from,
    None where that was not asked. `passed` has what each QuantizeLinear and DequantizeLinear of the file reads, by what
    it writes."""

    file: str
    sha256: str
    bytes: int
    producer: str
    dialects: tuple[tuple[str, str], ...]
    opsets: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[NodeFacts, ...]
    tensors: tuple[TensorFacts, ...]
    types: Mapping[str, str]
    sections: tuple[Section, ...]
    recipe: str = ""
    version: str = ""
    explanations: Mapping[str, str] = field(default_factory=dict)  # of every rule that found something: its summary
    errors: Mapping[str, TensorError] = field(default_factory=dict)
    passed: Mapping[str, str] = field(default_factory=dict)
    causes: Causes | None = None

    @property
    def quantized(self) -> bool:
        return bool(self.tensors)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all sections, each once."""
        return tuple(dict.fromkeys(found for section in self.sections for found in section.findings))

    def worst(self) -> Severity | None:
        """The gravest level of a finding that no waiver allows; None where there is none."""
        found = {each.severity for section in self.sections for each in section.standing}
        return next((level for level in LEVELS if level in found), None)


def at_least(found: Severity, level: Severity) -> bool:
    """Whether `found` is as grave as `level`, or graver."""
    return LEVELS.index(found) <= LEVELS.index(level)
