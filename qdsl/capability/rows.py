"""The rows of a target's table: the integer kernel that runs for some operators, and what it asks of its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Protocol

from qdsl.capability.when import When, attr_text
from qdsl.spec import DTYPES, DType, Granularity
from qdsl.spec.bounds import Count, OneOf, Sentence, SomeTexts

if TYPE_CHECKING:
    from qdsl.graph.view import Dim, GraphView, NodeView

COMPUTE = "compute"
MOVES = "moves"
FLOAT = "float"
ABSORBED = "absorbed"
ANY_OP = "*"


@dataclass(frozen=True, slots=True)
class ChannelAxis:
    """The axis of a stored weight that counts output channels. With `attr`, `by_value` maps that attribute's value (as
    text, "absent" included) to the axis."""

    axis: Count
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


def summed_axis(node: NodeView) -> int:
    """The axis of the matrix of a MatMul or Gemm, its second input, over which products are summed."""
    return 1 if node.op == "Gemm" and node.attrs.get("transB", 0) else 0


def _holds(size: Dim, part: int, least: int = 0) -> bool:
    """Whether `size` is a whole number of parts, and at least so many."""
    return isinstance(size, int) and size % part == 0 and size // part >= least


@dataclass(frozen=True, slots=True)
class WeightOnly:
    """The kernel that computes with integer weights and float activations. `blocks` are the block sizes it takes;
    `when` is what it asks of the node beyond the row, but for the attributes in `lowered`, which the emitter rewrites
    to suit. `columns`: by number type, what the number of output channels must be a multiple of; where it is not, the
    kernel runs all the same and answers wrongly. `beside`: types of activations of which
    floats are made before it. `least_blocks`: how many whole blocks there have to be along what is summed over; 0: any
    number, and the last may be cut short. `columns_of`: what the size across the blocks must be a multiple of.
    `unshared`: nobody else may read the constant. `any_axis`: blocks may run along its other axis, too."""

    kernel: Sentence
    types: tuple[DType, ...]
    granularities: tuple[Granularity, ...]
    blocks: tuple[Count, ...]
    because: Sentence
    when: When = field(default_factory=When)
    lowered: tuple[str, ...] = ()
    columns: Mapping[Annotated[str, OneOf(tuple(DTYPES))], Count] = field(default_factory=dict)
    beside: tuple[DType, ...] = ()
    least_blocks: Count = 0
    columns_of: Count = 1
    any_axis: bool = False
    unshared: bool = False

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
        if self.unshared and len(view.tensors[node.inputs[port]].uses) > 1:
            return False
        along = getattr(scheme, "axis", None) if self.any_axis else None  # of what stands in a file
        fits = self._fits(shape, summed_axis(node) if along is None else along, scheme.block)
        return fits and scheme.dtype in self.types and scheme.granularity in self.granularities

    def _fits(self, shape: tuple[Dim, ...], along: int, block: int | None) -> bool:
        """Whether a matrix has whole blocks along that axis, and a size across it, as they are asked for."""
        length, columns = shape[along], shape[1 - along]
        whole = not self.least_blocks or block is None or _holds(length, block, self.least_blocks)
        return whole and _holds(columns, self.columns_of)


@dataclass(frozen=True, slots=True)
class Merge:
    """Two operators of which the runtime makes one before it looks at Q/DQ: `first` and one of `seconds`, which alone
    reads what it writes. `stays` says whose name the kernel keeps ("first" or "second"); it runs as `op` ("": its own).
    With "both" others may read it, too: the second then reads what the first reads, and the first stays for them.
    `check` names the structural condition."""

    first: Sentence
    seconds: tuple[str, ...]
    stays: Annotated[str, OneOf(("first", "second", "both"))]
    check: Sentence
    because: Sentence
    op: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One rule of the table: what runs for some operators.

    `kind`: "compute" (an integer kernel), "moves" (copies integers: input and output share one scale), "float" (never
    in integers) or "absorbed" (folds into the QuantizeLinear that follows, when that makes it redundant).
    `output`: whether the kernel needs a QuantizeLinear on its output: "required", "optional" (it can write floats, then
    `float_output_kernel` runs), "float" (it needs none, and gets none by default) or "none".
    `absorbs` names operators that fold into this row's kernel when they stand between it and its QuantizeLinear;
    `clamps`: they do wherever that one's zero point lies, since the kernel cuts off at any integer. `alone`: the kernel
    of an activation that nothing absorbs, between a DequantizeLinear and a QuantizeLinear. `reads_alone`: whether
    integers come in decides alone, since it writes integers, floats or both, and adds a bias of either.
    `same_type`: activations in and out share one number type. `requires` names further checks of the predictor.
    `runtime_weight`: the type, per tensor, that the runtime itself gives a float constant weight between a quantized
    input and output; None when it leaves it alone. `runtime_scalars`: so it does with a scalar constant on a data port.
    `float_bias`: a bias is added as floats, and none is stored as int32. `only_asked`: nothing is placed around it
    unless a `place` rule asks. `skip`: by default a pair stands on the skip connection of a residual addition.
    `lowered`: the kernel runs what the emitter writes in the node's place, `beyond_kernel` where what is stored leaves
    [0, 1].
    """

    name: Sentence
    ops: SomeTexts
    kind: Annotated[str, OneOf((COMPUTE, MOVES, FLOAT, ABSORBED))]
    because: Sentence
    evidence: Sentence
    domain: str = ""
    kernel: str = ""
    float_output_kernel: str = ""
    when: When = field(default_factory=When)
    activations: tuple[Count, ...] = ()
    variadic: bool = False
    weights: tuple[Count, ...] = ()
    bias: Count | None = None
    output: Annotated[str, OneOf(("required", "optional", "float", "none"))] = "none"
    activation_types: tuple[DType, ...] = ()
    weight_types: tuple[DType, ...] = ()
    weight_granularities: tuple[Granularity, ...] = ()
    channel_axis: ChannelAxis | None = None
    same_type: bool = True
    absorbs: tuple[str, ...] = ()
    clamps: bool = False
    reads_alone: bool = False
    alone: str = ""
    requires: tuple[str, ...] = ()
    weight_only: WeightOnly | None = None
    runtime_weight: DType | None = None
    runtime_scalars: bool = False
    lowered: bool = False
    beyond_kernel: str = ""
    float_bias: bool = False
    only_asked: bool = False
    skip: bool = False

    def problem(self) -> str:
        """What a row says that does not go together, "" for nothing: one that computes says everything the predictor
        asks of it; one that does not says nothing more."""
        if self.kind == COMPUTE and not (self.kernel and self.activation_types and self.output != "none"):
            return "a `compute` row needs `kernel`, `activation_types` and an `output`"
        if self.kind == MOVES and not (self.activation_types and self.activations):
            return "a `moves` row needs `activations` and `activation_types`"
        if self.alone and (self.kind != ABSORBED or not self.activation_types):
            return "`alone` is for `absorbed` rows, and needs `activation_types`"
        typed = self.activation_types and not self.alone
        if self.kind in (FLOAT, ABSORBED) and (self.kernel or self.weights or typed):
            return f"a `{self.kind}` row has no kernel, weights or types"
        if bool(self.weights) != bool(self.weight_types and self.weight_granularities and self.channel_axis):
            return "`weights`, `weight_types`, `weight_granularities` and `channel_axis` go together"
        if self.float_output_kernel and self.output != "optional":
            return "`float_output_kernel` needs an optional `output`"
        return "`lowered` is for rows that compute" if self.lowered and self.kind != COMPUTE else ""

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
        named = ANY_OP in self.ops or (node.op in self.ops and node.domain == self.domain)
        return named and self.when.holds(node, view)

    def kernel_for(self, node: NodeView) -> str:
        """The operator that runs when `node` runs in integers; the node's own for a row that only moves data."""
        return self.kernel.replace("{op}", node.op) or node.op

    def weight_ports(self, node: NodeView, view: GraphView) -> tuple[int, ...]:
        """Ports that hold a constant weight here: stored as integers with the weights' scheme."""
        return tuple(port for port in self.weights if present(node, port) and view.is_constant(node.inputs[port]))

    def activation_ports(self, node: NodeView, view: GraphView) -> tuple[int, ...]:
        """Ports that read a computed tensor through Q/DQ: data ports, and weight ports fed by another node."""
        ports = self._data_ports(node) + self.weights
        return tuple(sorted(p for p in ports if present(node, p) and not view.is_constant(node.inputs[p])))

    def constant_ports(self, node: NodeView, view: GraphView) -> tuple[int, ...]:
        """Data ports fed by a constant (a Mul by a table): stored as integers with the *activations'* scheme."""
        return tuple(p for p in self._data_ports(node) if present(node, p) and view.is_constant(node.inputs[p]))

    def holds_constant(self, node: NodeView, port: int, view: GraphView) -> bool:
        """Whether `port` is one of `constant_ports`."""
        reads = self.variadic or port in self.activations
        return reads and present(node, port) and view.is_constant(node.inputs[port])

    def bias_port(self, node: NodeView, view: GraphView) -> int | None:
        """The port of a constant bias that is there, or None."""
        if self.bias is None or not present(node, self.bias) or not view.is_constant(node.inputs[self.bias]):
            return None
        return self.bias

    def _data_ports(self, node: NodeView) -> tuple[int, ...]:
        return tuple(range(len(node.inputs))) if self.variadic else self.activations


def _plain_bias(node: NodeView, view: GraphView, weight: tuple[int | str | None, ...]) -> bool:
    """Whether a Gemm adds one bias per output channel, or none."""
    if node.op != "Gemm" or not present(node, 2):
        return True
    return view.tensors[node.inputs[2]].shape == (weight[0 if node.attrs.get("transB") == 1 else 1],)


def present(node: NodeView, port: int) -> bool:
    return port < len(node.inputs) and node.inputs[port] != ""
