"""What a target can run, as typed rows: the form that a target's table (`<target>.toml`) takes once read and checked.

A table says, per operator, which integer kernel there is and what that kernel asks of the Q/DQ nodes around it. The
plan places Q/DQ by these rows and the predictor (`qdsl.predict.rules`) judges nodes by them; nobody else reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from qdsl.capability.alternatives import Alternative
from qdsl.capability.dynamic import Dynamic
from qdsl.capability.flat import Flat
from qdsl.capability.float16 import Float16Row
from qdsl.capability.reasons import said
from qdsl.capability.rows import ANY_OP, Merge, Row, present
from qdsl.capability.slow import Slow
from qdsl.capability.store import Store
from qdsl.capability.sums import Cpu, Sums
from qdsl.spec import DType, Granularity, Scheme
from qdsl.spec.bounds import ASIDE, Check, Count, Match, OneOf, Sentence, Stands, Via

if TYPE_CHECKING:
    from qdsl.graph.view import GraphView, NodeView

ACTIVATION = "activation"
WEIGHT = "weight"
TENSORS, EDGES = "tensors", "edges"
_DEFAULT_BITS = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the target takes a scheme. `runs` is "integer" (computed in), "stored" (kept in the file, dequantized
    before use: the recipe must say `storage_only`) or "no" (refused). `because` says why in a few words."""

    runs: str
    because: str

    @property
    def executed(self) -> bool:
        return self.runs == "integer"

    @property
    def storable(self) -> bool:
        return self.runs in ("integer", "stored")


@dataclass(frozen=True, slots=True)
class RoleTypes:
    """How one number type serves in one role. `symmetric`, `granularity` and `block` complete a request for the bare
    type.
    `centred`: a zero point in the middle of the type is the only one taken."""

    runs: Annotated[str, OneOf(("integer", "stored", "no"))]
    symmetric: bool = True
    granularities: tuple[Granularity, ...] = ()
    centred: bool = False
    block: Count | None = None

    @property
    def granularity(self) -> Granularity:
        return self.granularities[0] if self.granularities else Granularity.PER_TENSOR


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One number type: what it can do as an activation and as a weight. `alone`: as a weight only beside float
    activations; the runtime refuses the file otherwise, but for operators of `apart`, of which a lowering keeps pairs
    away. `even`: a stored constant has an even number of elements.
    `caution`: where it does not run, of a recipe that names no device."""

    dtype: DType
    activation: RoleTypes
    weight: RoleTypes
    because: Sentence
    evidence: Sentence
    alone: bool = False
    apart: tuple[str, ...] = ()
    even: bool = False
    caution: Annotated[str, ASIDE] = ""

    def role(self, role: str) -> RoleTypes:
        return self.activation if role == ACTIVATION else self.weight


def _by_name(rows: Iterable[TypeRow]) -> dict[str, TypeRow]:
    return {row.dtype.name: row for row in rows}


def _twice(rows: Iterable[Row]) -> str:
    names = [row.name for row in rows]
    return next((f"two rows are called {name}" for name in names if names.count(name) > 1), "")


_Role = Annotated[str, OneOf((ACTIVATION, WEIGHT))]
_Bits = Annotated[int, Via(Annotated[str, Match("[0-9]{1,2}", "a number of bits")], int)]


@dataclass(frozen=True)
class Capability:
    """A target's table. `title` is for people; `evidence` names the runtime and version it was checked with.

    `reasons` are the predictor's sentences, by key; `alternatives` what a measurement may choose.

    The rest is what the runtime does by itself before it fuses. `signed_pairs`: it computes in unsigned integers and
    turns a signed Q/DQ pair into an unsigned one only where one Q feeds one DQ. `merges_equal`: equal nodes run once.
    `merges`: pairs that run as one operator. `halves`: what float16 is to it. `flats`: where what an operator
    reads makes no difference.
    `stores`: weights that may be stored as integers and are computed with in float. `slow`: forms of weights to avoid.
    `spread`: operators over which it spreads a neighbouring Q/DQ pair,
    `spread_past_outputs` those that it spreads upwards even when what they read is a graph
    output, and which it moves down through operators of `moved_through` to the next of their kind.
    `dynamic`: what runs with activations quantized at run time.
    `cpus` are the kinds of CPU that the table tells apart, `sums` where the kernels add exactly.
    `placement`: by default a pair stands for every reader of a tensor ("tensors"), or for the ports alone that
    ask for one ("edges").
    `whole_blocks`: blocks of a stored constant are never cut short, and run along one of its last two axes.
    `paired_weights`: it reads no stored int8, but floats behind a Q of their own.
    `half_scales`: Q and DQ whose scale is float16 run as others do, from opset 19 on.
    `any_opset`: the domain whose Q and DQ it takes in a file of an opset that lacks a type or a form ("": none).
    `not_emulated`: why it has no activations of a width that no type has: where a Clip keeps to it, "".
    `signed_spread_max_opset`: from the next opset on it refuses a file in which it spreads a signed pair.
    """

    title: Sentence
    evidence: Sentence
    min_opset: int
    max_opset: int
    rows: Annotated[tuple[Row, ...], Stands("row"), Check(_twice)]
    types: Annotated[Mapping[str, TypeRow], Stands("type"), Via(tuple[TypeRow, ...], _by_name)]
    widths: Mapping[_Role, Mapping[_Bits, DType]]
    reasons: Mapping[str, Sentence] = field(default_factory=dict)
    name: Annotated[str, ASIDE] = ""
    signed_pairs: bool = False
    spread: tuple[str, ...] = ()
    spread_past_outputs: tuple[str, ...] = ()
    moved_through: tuple[str, ...] = ()
    merges: Annotated[tuple[Merge, ...], Stands("merge")] = ()
    alternatives: Annotated[tuple[Alternative, ...], Stands("alternative")] = ()
    halves: Annotated[tuple[Float16Row, ...], Stands("half")] = ()
    flats: Annotated[tuple[Flat, ...], Stands("flat")] = ()
    stores: Annotated[tuple[Store, ...], Stands("store")] = ()
    slow: tuple[Slow, ...] = ()
    merges_equal: bool = False
    signed_spread_max_opset: int | None = None
    placement: Annotated[str, OneOf((TENSORS, EDGES))] = TENSORS
    whole_blocks: bool = False
    paired_weights: bool = False
    half_scales: bool = False
    any_opset: str = ""
    not_emulated: str = ""
    dynamic: tuple[Dynamic, ...] = ()
    cpus: Annotated[tuple[Cpu, ...], Stands("cpu")] = ()
    sums: tuple[Sums, ...] = ()
    _by_op: Mapping[str, tuple[Row, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_op", _index(self.rows))

    def problem(self) -> str:
        """What is wrong with a table as a whole, "" for nothing."""
        return self._rows_problem() or self._widths_problem() or self._sums_problem() or self._reasons_problem()

    def _rows_problem(self) -> str:
        for row in self.rows:
            for key in row.requires:
                if key not in self.reasons:
                    return f"row {row.name} requires `{key}`, which [reasons] does not explain"
        if not self.rows or self.rows[-1].ops != (ANY_OP,):
            return 'the last row must have ops = ["*"]: it speaks of every other operator'
        return ""

    def _widths_problem(self) -> str:
        for role in (ACTIVATION, WEIGHT):
            known = self.widths.get(role, {})
            if _DEFAULT_BITS not in known:
                return f"widths.{role} has no {_DEFAULT_BITS}: what a recipe gets that does not say"
            for bits, dtype in known.items():
                if dtype.bits != bits or dtype.name not in self.types:
                    return f"widths.{role}: `{bits}` names {dtype}, which is not a {bits} bit type of this table"
        return ""

    def _sums_problem(self) -> str:
        cpus = sorted(cpu.name for cpu in self.cpus)
        for sums in self.sums:
            if sorted((*sums.exact_on, *sums.faults)) != cpus:
                return f"sums of {', '.join(sums.kernels)}: `exact_on` and `faults` name each [[cpu]] once"
        return ""

    def _reasons_problem(self) -> str:
        keys = said(self.rows, signed=self.signed_pairs, dynamic=bool(self.dynamic), more=self._more_reasons())
        return next((f"[reasons] lacks `{key}`" for key in keys if key not in self.reasons), "")

    def _more_reasons(self) -> tuple[str, ...]:
        """Keys of sentences on what the table says of its types."""
        alone = any(kind.alone for kind in self.types.values())
        odd = any(kind.even for kind in self.types.values())
        blocks = ("cut_block", "block_axis") if self.whole_blocks else ()
        edges = ("mixed_product", "zero_moved") if self.placement == EDGES else ()
        return (*(("alone",) if alone else ()), *(("odd_elements",) if odd else ()), *blocks, *edges)

    def row_for(self, node: NodeView, view: GraphView) -> Row:
        """The first row that speaks of `node`; the last row of a table speaks of every operator."""
        for row in self._by_op.get(node.op, self._by_op[ANY_OP]):
            if row.matches(node, view):
                return row
        raise LookupError(f"{self.name}.toml has no row for {node.op}")

    def store_for(self, node: NodeView, view: GraphView) -> tuple[Store, tuple[int, ...]] | None:
        """The rule for constant weights of `node` that no kernel computes with, and the ports that hold them."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        found = next((each for each in self.stores if node.op in each.ops and each.domain == domain), None)
        ports = (
            ()
            if found is None
            else tuple(p for p in found.ports if present(node, p) and view.is_constant(node.inputs[p]))
        )
        return (found, ports) if found is not None and ports else None

    def dynamic_for(self, node: NodeView) -> Dynamic | None:
        """What runs for `node` with its activations quantized at run time; None when nothing does."""
        if node.domain:
            return None
        return next((found for found in self.dynamic if node.op in found.ops), None)

    def sums_of(self, kernel: str, weight: DType) -> Sums | None:
        """How `kernel` adds its products with weights of that type; None where the table says nothing of it."""
        return next((found for found in self.sums if kernel in found.kernels and weight in found.weights), None)

    def slow_for(self, kernel: str, scheme: Scheme, *, depthwise: bool) -> Slow | None:
        """The rule by which weights of `scheme` are slow in `kernel`; None where nothing is said against them."""
        for found in self.slow:
            if kernel in found.kernels and found.speaks_of(scheme) and (depthwise or found.nodes == "any"):
                return found
        return None

    def row(self, name: str) -> Row:
        """The row called `name`; KeyError when there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def type_row(self, dtype: DType) -> TypeRow | None:
        return self.types.get(dtype.name)

    def complete(
        self,
        role: str,
        dtype: DType,
        *,
        symmetric: bool | None = None,
        granularity: Granularity | None = None,
        block: int | None = None,
        reduce_range: bool = False,
        storage_only: bool = False,
    ) -> Scheme:
        """A whole scheme from a request: what is None takes the target's default for `dtype` in `role`."""
        row = self.types.get(dtype.name)
        known = row.role(role) if row else RoleTypes("no")
        chosen = Granularity.PER_BLOCK if block and granularity is None else granularity or known.granularity
        is_symmetric = known.symmetric if symmetric is None else symmetric
        block = block or (known.block if chosen is Granularity.PER_BLOCK else None)
        return Scheme(dtype, is_symmetric, chosen, block, reduce_range, storage_only)

    def accepts(self, role: str, scheme: Scheme) -> Verdict:
        """Whether the target computes in, only stores, or refuses `scheme` in `role`, whatever the operator."""
        row = self.types.get(scheme.dtype.name)
        if row is None:
            return Verdict("no", f"{self.title} has no {scheme.dtype}")
        known = row.role(role)
        unread = self.unread(role, scheme)
        if unread:
            return Verdict("no", unread)
        if scheme.dtype.quantized and scheme.granularity not in known.granularities:
            allowed = " or ".join(g.value for g in known.granularities)
            return Verdict("no", f"{scheme.dtype} {role}s are {allowed} on {self.title}")
        return Verdict(known.runs, row.because)

    def unread(self, role: str, scheme: Scheme) -> str:
        """Why the target's software does not even read `scheme` in `role`; "" where it does."""
        row = self.types.get(scheme.dtype.name)
        if row is None:
            return f"{self.title} has no {scheme.dtype}"
        known = row.role(role)
        if known.centred and not scheme.symmetric:
            return f"{row.because}: {scheme.dtype} {role}s are symmetric on {self.title}"
        return row.because if known.runs == "no" else ""

    def stands_alone(self, dtype: DType) -> bool:
        """Whether weights of that type run beside float activations in any build: pairs stand on edges, so that a node
        does without, and a kernel takes them."""
        kind = self.types.get(dtype.name)
        return self.placement == EDGES and kind is not None and kind.alone

    def executed_types(self, role: str) -> tuple[DType, ...]:
        """Types computed in, in this role; sorted by name."""
        return tuple(sorted(row.dtype for row in self.types.values() if row.role(role).runs == "integer"))


def _index(rows: tuple[Row, ...]) -> dict[str, tuple[Row, ...]]:
    """Rows by operator, in table order, each list closed by the rows for any operator."""
    general = tuple(row for row in rows if ANY_OP in row.ops)
    ops = sorted({op for row in rows for op in row.ops} - {ANY_OP})
    by_op = {op: tuple(row for row in rows if op in row.ops) + general for op in ops}
    return {**by_op, ANY_OP: general}
