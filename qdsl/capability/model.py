"""What a target can run, as typed rows: the form that a target's table (`<target>.toml`) takes once read and checked.

A table says, per operator, which integer kernel there is and what that kernel asks of the Q/DQ nodes around it. The
plan places Q/DQ by these rows and the predictor (`qdsl.predict.rules`) judges nodes by them; nobody else reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from qdsl.capability.alternatives import Alternative
from qdsl.capability.dynamic import Dynamic
from qdsl.capability.flat import Flat
from qdsl.capability.float16 import Float16Row
from qdsl.capability.slow import Slow
from qdsl.capability.store import Store
from qdsl.capability.sums import Cpu, Sums
from qdsl.capability.when import When, attr_text
from qdsl.spec import DType, Granularity, Scheme

if TYPE_CHECKING:
    from qdsl.graph.view import GraphView, NodeView

ACTIVATION = "activation"
WEIGHT = "weight"
COMPUTE = "compute"
MOVES = "moves"
FLOAT = "float"
ABSORBED = "absorbed"

_ANY_OP = "*"


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
    """How one number type serves in one role. `symmetric` and `granularity` complete a request for the bare type."""

    runs: str
    symmetric: bool
    granularity: Granularity
    granularities: tuple[Granularity, ...]


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One number type: what it can do as an activation and as a weight. `min_opset` overrides the ONNX opset that first
    quantizes to it; None means that one (`DType.qdq_opset`). `alone`: as a weight only beside float activations; the
    runtime refuses the file otherwise."""

    dtype: DType
    activation: RoleTypes
    weight: RoleTypes
    because: str
    evidence: str
    alone: bool = False

    def role(self, role: str) -> RoleTypes:
        return self.activation if role == ACTIVATION else self.weight


@dataclass(frozen=True, slots=True)
class ChannelAxis:
    """The axis of a stored weight that counts output channels. With `attr`, `by_value` maps that attribute's value (as
    text, "absent" included) to the axis."""

    axis: int
    attr: str = ""
    by_value: Mapping[str, int] = field(default_factory=dict)

    def of(self, node: NodeView) -> int:
        return self.by_value.get(attr_text(node, self.attr), self.axis) if self.attr else self.axis


class SchemeLike(Protocol):
    """What the weights-only kernel asks of a scheme."""

    @property
    def dtype(self) -> DType: ...

    @property
    def granularity(self) -> Granularity: ...

    @property
    def block(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class WeightOnly:
    """The kernel that computes with integer weights and float activations. `blocks` are the block sizes it takes;
    `when` is what it asks of the node beyond the row, but for the attributes in `lowered`, which the emitter rewrites
    to suit. `columns`: by number type, what the number of output channels must be a multiple of; where it is not, the
    kernel runs all the same and answers wrongly."""

    kernel: str
    types: tuple[DType, ...]
    granularities: tuple[Granularity, ...]
    blocks: tuple[int, ...]
    because: str
    when: When = field(default_factory=When)
    lowered: tuple[str, ...] = ()
    columns: Mapping[str, int] = field(default_factory=dict)

    def takes(self, node: NodeView, view: GraphView, port: int, scheme: SchemeLike, *, lowered: bool) -> bool:
        """Whether the kernel computes with the constant matrix at `port`, stored as `scheme` says. `lowered`: the
        emitter has yet to write the node."""
        free = self.lowered if lowered else ()
        when = replace(self.when, attrs={k: v for k, v in self.when.attrs.items() if k not in free})
        if not when.holds(node, view) or not view.is_constant(node.inputs[port]):
            return False
        shape = view.tensors[node.inputs[port]].shape or ()
        if len(shape) != 2 or not _plain_bias(node, view, shape):
            return False
        if scheme.block is not None and scheme.block not in self.blocks:
            return False
        return scheme.dtype in self.types and scheme.granularity in self.granularities


@dataclass(frozen=True, slots=True)
class Merge:
    """Two operators of which the runtime makes one before it looks at Q/DQ: `first` and one of `seconds`, which alone
    reads what it writes. `stays` says whose name the kernel keeps ("first" or "second"); it runs as `op` ("": its own).
    With "both" others may read it, too: the second then reads what the first reads, and the first stays for them.
    `check` names the structural condition."""

    first: str
    seconds: tuple[str, ...]
    stays: str
    op: str
    check: str
    because: str


@dataclass(frozen=True, slots=True)
class Row:
    """One rule of the table: what runs for some operators.

    `kind`: "compute" (an integer kernel), "moves" (copies integers: input and output share one scale), "float" (never
    in integers) or "absorbed" (folds into the QuantizeLinear that follows, when that makes it redundant).
    `output`: whether the kernel needs a QuantizeLinear on its output: "required", "optional" (it can write floats, then
    `float_output_kernel` runs) or "none".
    `absorbs` names operators that fold into this row's kernel when they stand between it and its QuantizeLinear.
    `same_type`: activations in and out share one number type. `requires` names further checks of the predictor.
    `runtime_weight`: the type, per tensor, that the runtime itself gives a float constant weight between a quantized
    input and output; None when it leaves it alone. `runtime_scalars`: so it does with a scalar constant on a data port.
    `joins`: types whose integers the node's own operator takes as they are, where all inputs and the output have one
    scale: the emitter writes the node so. `lowered`: the kernel runs what the emitter writes in the node's place,
    `beyond_kernel` where what is stored leaves [0, 1].
    """

    name: str
    ops: tuple[str, ...]
    kind: str
    because: str
    evidence: str
    domain: str = ""
    kernel: str = ""
    float_output_kernel: str = ""
    when: When = field(default_factory=When)
    activations: tuple[int, ...] = ()
    variadic: bool = False
    weights: tuple[int, ...] = ()
    bias: int | None = None
    output: str = "none"
    activation_types: tuple[DType, ...] = ()
    weight_types: tuple[DType, ...] = ()
    weight_granularities: tuple[Granularity, ...] = ()
    channel_axis: ChannelAxis | None = None
    same_type: bool = True
    absorbs: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    weight_only: WeightOnly | None = None
    runtime_weight: DType | None = None
    runtime_scalars: bool = False
    joins: tuple[DType, ...] = ()
    lowered: bool = False
    beyond_kernel: str = ""

    @property
    def computes(self) -> bool:
        return self.kind == COMPUTE

    @property
    def same_scale(self) -> bool:
        """Input and output must share scale, zero point and type: give them one group."""
        return self.kind == MOVES and self.output_quantized

    @property
    def output_quantized(self) -> bool:
        """The default placement puts a Q/DQ pair on the outputs."""
        return self.output in ("required", "optional")

    def matches(self, node: NodeView, view: GraphView) -> bool:
        named = _ANY_OP in self.ops or (node.op in self.ops and node.domain == self.domain)
        return named and self.when.holds(node, view)

    def kernel_for(self, node: NodeView) -> str:
        """The operator that runs when `node` runs in integers; the node's own for a row that only moves data."""
        return self.kernel.replace("{op}", node.op) or node.op

    def weight_ports(self, node: NodeView, view: GraphView) -> tuple[int, ...]:
        """Ports that hold a constant weight here: stored as integers with the weights' scheme."""
        return tuple(port for port in self.weights if _present(node, port) and view.is_constant(node.inputs[port]))

    def activation_ports(self, node: NodeView, view: GraphView) -> tuple[int, ...]:
        """Ports that read a computed tensor through Q/DQ: data ports, and weight ports fed by another node."""
        ports = self._data_ports(node) + self.weights
        return tuple(sorted(p for p in ports if _present(node, p) and not view.is_constant(node.inputs[p])))

    def constant_ports(self, node: NodeView, view: GraphView) -> tuple[int, ...]:
        """Data ports fed by a constant (a Mul by a table): stored as integers with the *activations'* scheme."""
        return tuple(p for p in self._data_ports(node) if _present(node, p) and view.is_constant(node.inputs[p]))

    def holds_constant(self, node: NodeView, port: int, view: GraphView) -> bool:
        """Whether `port` is one of `constant_ports`."""
        reads = self.variadic or port in self.activations
        return reads and _present(node, port) and view.is_constant(node.inputs[port])

    def bias_port(self, node: NodeView, view: GraphView) -> int | None:
        """The port of a constant bias that is there, or None."""
        if self.bias is None or not _present(node, self.bias) or not view.is_constant(node.inputs[self.bias]):
            return None
        return self.bias

    def _data_ports(self, node: NodeView) -> tuple[int, ...]:
        return tuple(range(len(node.inputs))) if self.variadic else self.activations

    def accepts_weight(self, scheme: Scheme) -> bool:
        """The integer kernel of this row computes with such a weight."""
        return scheme.dtype in self.weight_types and scheme.granularity in self.weight_granularities

    def accepts_activation(self, scheme: Scheme) -> bool:
        """The integer kernel of this row computes with such activations."""
        return scheme.dtype in self.activation_types and scheme.granularity is Granularity.PER_TENSOR


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
    `signed_spread_max_opset`: from the next opset on it refuses a file in which it spreads a signed pair.
    """

    name: str
    title: str
    evidence: str
    min_opset: int
    max_opset: int
    rows: tuple[Row, ...]
    types: Mapping[str, TypeRow]
    widths: Mapping[str, Mapping[int, DType]]
    reasons: Mapping[str, str]
    signed_pairs: bool
    spread: tuple[str, ...]
    spread_past_outputs: tuple[str, ...] = ()
    moved_through: tuple[str, ...] = ()
    merges: tuple[Merge, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    halves: tuple[Float16Row, ...] = ()
    flats: tuple[Flat, ...] = ()
    stores: tuple[Store, ...] = ()
    slow: tuple[Slow, ...] = ()
    merges_equal: bool = False
    signed_spread_max_opset: int | None = None
    dynamic: tuple[Dynamic, ...] = ()
    cpus: tuple[Cpu, ...] = ()
    sums: tuple[Sums, ...] = ()
    _by_op: Mapping[str, tuple[Row, ...]] = field(default_factory=dict, repr=False, compare=False)

    def row_for(self, node: NodeView, view: GraphView) -> Row:
        """The first row that speaks of `node`; the last row of a table speaks of every operator."""
        for row in self._by_op.get(node.op, self._by_op[_ANY_OP]):
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
            else tuple(p for p in found.ports if _present(node, p) and view.is_constant(node.inputs[p]))
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

    def default_activation(self, bits: int) -> Scheme | None:
        """What `activations N bit` means here; None when the target has no such width."""
        return self._default(ACTIVATION, bits)

    def default_weight(self, bits: int) -> Scheme | None:
        """What `weights N bit` means here; None when the target has no such width."""
        return self._default(WEIGHT, bits)

    def _default(self, role: str, bits: int) -> Scheme | None:
        dtype = self.widths[role].get(bits)
        return None if dtype is None else self.complete(role, dtype)

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
        known = row.role(role) if row else RoleTypes("no", True, Granularity.PER_TENSOR, ())
        chosen = Granularity.PER_BLOCK if block and granularity is None else granularity or known.granularity
        is_symmetric = known.symmetric if symmetric is None else symmetric
        return Scheme(dtype, is_symmetric, chosen, block, reduce_range, storage_only)

    def accepts(self, role: str, scheme: Scheme) -> Verdict:
        """Whether the target computes in, only stores, or refuses `scheme` in `role`, whatever the operator."""
        row = self.types.get(scheme.dtype.name)
        if row is None:
            return Verdict("no", f"{self.title} has no {scheme.dtype}")
        known = row.role(role)
        if known.runs == "no":
            return Verdict("no", row.because)
        if scheme.dtype.integer and scheme.granularity not in known.granularities:
            allowed = " or ".join(g.value for g in known.granularities)
            return Verdict("no", f"{scheme.dtype} {role}s are {allowed} on {self.title}")
        return Verdict(known.runs, row.because)

    def executed_types(self, role: str) -> tuple[DType, ...]:
        """Types computed in, in this role; sorted by name."""
        return tuple(sorted(row.dtype for row in self.types.values() if row.role(role).runs == "integer"))


def index_rows(rows: tuple[Row, ...]) -> dict[str, tuple[Row, ...]]:
    """Rows by operator, in table order, each list closed by the rows for any operator."""
    general = tuple(row for row in rows if _ANY_OP in row.ops)
    ops = sorted({op for row in rows for op in row.ops} - {_ANY_OP})
    by_op = {op: tuple(row for row in rows if op in row.ops) + general for op in ops}
    return {**by_op, _ANY_OP: general}


def _plain_bias(node: NodeView, view: GraphView, weight: tuple[int | str | None, ...]) -> bool:
    """Whether a Gemm adds one bias per output channel, or none."""
    if node.op != "Gemm" or not _present(node, 2):
        return True
    return view.tensors[node.inputs[2]].shape == (weight[0 if node.attrs.get("transB") == 1 else 1],)


def _present(node: NodeView, port: int) -> bool:
    return port < len(node.inputs) and node.inputs[port] != ""
