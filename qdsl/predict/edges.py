"""Which edges of a float graph carry integers: the form that the predictor judges, whatever it was made from.

A plan becomes this form before anything is rewritten (`edges_of_plan`); a finished QDQ file becomes it by collapsing
its Q/DQ nodes. Nothing here knows a target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qdsl.graph.view import GraphView, Use
from qdsl.predict.bounds import Interval, bounds, union
from qdsl.spec import DType, Granularity, Scheme
from qdsl.spec.plan import BiasPlan, TensorPlan, WeightPlan

INT32 = DType("int32", 32, True, True, None)


@dataclass(frozen=True, slots=True)
class Quant:
    """How one edge is quantized. Equal `params` mean the same scale and zero point.

    `lowest_zero`: the zero point is the type's lowest integer, so no negative value can be stored. `reach`: bounds that
    no stored value leaves, None when unknown; `step` is the scale, 0 when unknown.

    What a file of others may write otherwise: `zero`, a zero point is written; `constant`, scale and zero point are
    constants; `even`, no zero point is known to be another number than 0; `scalar`, scale and zero point have no axes;
    `plain`, an axis counts from the first, and nobody else has the scale; `bare`, more than its DQ nodes has the
    integers; `site`, what else must be equal for the Q nodes of a tensor to be one: the name of the zero point, the
    domain.
    """

    dtype: DType
    params: str
    granularity: Granularity = Granularity.PER_TENSOR
    block: int | None = None
    axis: int | None = None
    lowest_zero: bool = False
    reach: Interval | None = None
    step: float = 0.0
    zero: bool = True
    constant: bool = True
    even: bool = True
    scalar: bool = True
    plain: bool = True
    bare: bool = False
    site: str = ""

    @property
    def fixed(self) -> bool:
        """Whether a zero point is written, and a constant as the scale is."""
        return self.zero and self.constant


# A graph output, where a reader of a DequantizeLinear is meant.
OUTPUT = Use(-1, -1)


@dataclass(slots=True)
class Written:
    """What leaves a tensor: its QuantizeLinear nodes, each with its readers (a graph output is `OUTPUT`), its float
    readers, and whether the float value itself is a graph output. Readers are ordered sets."""

    quants: dict[Quant, dict[Use, None]] = field(default_factory=dict)
    floats: dict[Use, None] = field(default_factory=dict)
    graph_output: bool = False

    def add(self, quant: Quant, readers: Iterable[Use]) -> None:
        """A QuantizeLinear with its readers; one that stands there already gets more readers."""
        self.quants.setdefault(quant, {}).update(dict.fromkeys(readers))

    def swap(self, old: Use, new: Use | None, quant: Quant | None) -> None:
        """`new` reads instead of `old`, through `quant` (None: floats); new None: nobody does. A QuantizeLinear that
        nobody reads is gone."""
        uses = self.floats if quant is None else self.quants[quant]
        del uses[old]
        if new is not None:
            uses[new] = None
        if quant is not None and not uses:
            del self.quants[quant]

    @property
    def edges(self) -> int:
        return len(self.quants) + len(self.floats)

    @property
    def only_quant(self) -> Quant | None:
        """The one Quant, when nothing else leaves the tensor."""
        return next(iter(self.quants), None) if self.edges == 1 and not self.graph_output else None

    @property
    def only_float(self) -> Use | None:
        """The one float reader, when nothing else leaves the tensor."""
        return next(iter(self.floats), None) if self.edges == 1 and not self.graph_output else None


@dataclass(slots=True)
class Edges:
    """`reads`: how a node's port reads its tensor through DequantizeLinear; a port that is absent reads floats.
    `written`: what leaves each tensor that a node or the caller writes. `lowered`: the emitter has yet to rewrite nodes
    to suit the target. `repeated`: tensors between two pairs that stand one behind the other, each with the tensor that
    the first pair stands on, and how. `fits`: of the ports that read a stored bias, for which steps of the data its own
    steps are those of the products that it is added to."""

    reads: dict[Use, Quant]
    written: dict[str, Written]
    lowered: bool = False
    repeated: dict[str, tuple[str, Quant]] = field(default_factory=dict)
    fits: dict[Use, Interval] = field(default_factory=dict)

    def copied(self) -> Edges:
        """The same edges, to be changed: `fits` is shared."""
        written = {
            name: Written(
                {quant: dict(uses) for quant, uses in each.quants.items()}, dict(each.floats), each.graph_output
            )
            for name, each in self.written.items()
        }
        return replace(self, reads=dict(self.reads), written=written, repeated=dict(self.repeated))

    def quantize(self, tensor: str, quant: Quant, readers: Sequence[Use], to_output: bool = False) -> None:
        """Puts a Q after `tensor`, unless the same stands there; `readers`, which read floats so far, and the graph
        output then read through DQ."""
        out = self.written[tensor]
        out.add(quant, [*readers, OUTPUT] if to_output else readers)
        for use in readers:
            del out.floats[use]
        out.graph_output = out.graph_output and not to_output
        self.reads.update(dict.fromkeys(readers, quant))


def float_edges(view: GraphView) -> Edges:
    """The edges of a graph in which nothing is quantized."""
    written = {
        name: Written(floats=dict.fromkeys(tensor.uses), graph_output=tensor.is_output)
        for name, tensor in view.tensors.items()
        if tensor.kind != "constant"
    }
    return Edges({}, written)


def edges_of_plan(
    view: GraphView,
    tensors: Mapping[str, TensorPlan],
    weights: Sequence[WeightPlan],
    biases: Sequence[BiasPlan],
    ranges: Mapping[str, Interval] | None = None,
) -> Edges:
    """The edges as a plan decides them. `ranges` are measured ranges per tensor; without them, what a tensor can hold
    is derived from the graph (nothing under 0 after a Relu)."""
    edges = float_edges(view)
    spans = _group_spans(view, tensors, ranges)
    for name in sorted(tensors):
        plan = tensors[name]
        quant = _quant(plan.scheme, plan.group, spans[plan.group], measured=ranges is not None)
        uses = [Use(view.node_index[r.node], r.port) for r in plan.readers if r.node]
        if name not in edges.written:
            edges.reads.update(dict.fromkeys(uses, quant))
            continue
        edges.quantize(name, quant, uses, to_output=any(not r.node for r in plan.readers))
    for weight in weights:
        s = weight.scheme
        key = f"{weight.tensor}:{s}"
        edges.reads[Use(view.node_index[weight.node], weight.port)] = Quant(
            s.dtype, key, s.granularity, s.block, weight.axis
        )
    for bias in biases:
        edges.reads[Use(view.node_index[bias.node], bias.port)] = Quant(INT32, f"{bias.node}:{bias.tensor}")
    return edges


def _group_spans(
    view: GraphView, tensors: Mapping[str, TensorPlan], ranges: Mapping[str, Interval] | None
) -> dict[str, Interval]:
    """Per group, the range its scale is made from: of the members observed, as measured or as the graph bounds it."""
    derived = bounds(view)
    members: dict[str, list[Interval]] = {}
    for name in sorted(tensors):
        plan = tensors[name]
        if plan.calibration.low is not None and plan.calibration.high is not None:
            span = (plan.calibration.low, plan.calibration.high)
        else:
            span = (ranges or {}).get(name, derived[name])
        observed = members.setdefault(plan.group, [])
        if plan.observe:
            observed.append(span)
    return {group: union(spans) for group, spans in members.items()}


def _quant(scheme: Scheme, group: str, span: Interval, *, measured: bool) -> Quant:
    """The Quant of a planned tensor whose scale is made from `span`, as `qdsl.quant` makes it. Unless it was
    measured, a span only bounds what calibration will find, and equal spans say nothing about two groups."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    starts_at_lowest = not scheme.symmetric and _lowest(scheme) == scheme.dtype.qmin
    if scheme.symmetric:
        low, high = -max(-low, high), max(-low, high)
    step = _step(scheme, low, high)
    return Quant(
        scheme.dtype,
        f"{scheme}:{step!r}:{low!r}" if measured else f"{scheme}:{group}",
        scheme.granularity,
        scheme.block,
        lowest_zero=starts_at_lowest and span[0] >= 0,
        reach=_reach(scheme, low, high, step),
        step=step,
    )


def _lowest(scheme: Scheme) -> int:
    """The smallest integer that the scheme uses, without the one that symmetric schemes leave out."""
    bits = scheme.emulated_bits or scheme.dtype.bits
    half = 1 << (bits - 1)
    if not scheme.dtype.signed:
        return 0
    return -half // 2 if scheme.reduce_range else -half


def _levels(scheme: Scheme) -> int:
    """How many steps the scheme's integers span."""
    bits = scheme.emulated_bits or scheme.dtype.bits
    whole = (1 << bits) - 1
    return whole // 2 if scheme.reduce_range else whole - (scheme.symmetric and bits >= 8)


def _step(scheme: Scheme, low: float, high: float) -> float:
    if math.isinf(low) or math.isinf(high) or not scheme.dtype.integer:
        return 0.0
    return (high - low) / _levels(scheme)


def _reach(scheme: Scheme, low: float, high: float, step: float) -> Interval | None:
    """The values at the ends of the stored type."""
    if scheme.dtype.qmin is None or scheme.dtype.qmax is None:
        return None
    uses_all = not scheme.symmetric and not scheme.reduce_range and scheme.emulated_bits is None
    if uses_all:
        return low, high
    if step == 0.0:
        return None
    middle = 0 if scheme.dtype.signed else 1 << (scheme.dtype.bits - 1)
    zero = middle if scheme.symmetric else _lowest(scheme) - round(low / step)
    return (scheme.dtype.qmin - zero) * step, (scheme.dtype.qmax - zero) * step
