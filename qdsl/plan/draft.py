"""One attempt at a plan: pairs, groups, weights and biases for a given set of nodes that may run in integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qdsl.capability import WEIGHT, Row
from qdsl.cascade.schemes import Chosen
from qdsl.graph.view import NodeView
from qdsl.lang.recipe import PlaceRule
from qdsl.plan import share, weight_only
from qdsl.plan.calibration import calibration, settle_groups
from qdsl.plan.context import Context
from qdsl.plan.guards import guard
from qdsl.plan.place import GRAPH_OUTPUT, Edit, Placement, Slot, apply_edits, default_placement
from qdsl.plan.shapes import blockless, undivided
from qdsl.plan.share import Groups
from qdsl.predict.rules import bias_of_rows
from qdsl.spec import Granularity, Scheme
from qdsl.spec.plan import BiasPlan, Origin, Reader, TensorPlan, WeightPlan


@dataclass(frozen=True, slots=True)
class Draft:
    """`tensors` by name; `weights` and `biases` in graph order."""

    tensors: dict[str, TensorPlan]
    weights: tuple[WeightPlan, ...]
    biases: tuple[BiasPlan, ...]


def make_draft(
    context: Context,
    rules: tuple[PlaceRule, ...],
    edits: tuple[Edit, ...],
    active: frozenset[int],
    unfolded: set[int],
    bare: frozenset[str],
) -> Draft:
    """Place, choose schemes, share, then plan the constants of every node that reads its data through pairs."""
    placement = default_placement(context, active, bare, unfolded)
    apply_edits(placement, edits)
    chosen = choose(context, placement)
    schemes = {tensor: one.scheme for tensor, one in chosen.items() if one.scheme is not None}
    placement = {tensor: placement[tensor] for tensor in schemes}
    groups = share.by_structure(context, placement, schemes)
    share.by_shift(context, placement, schemes, groups)
    share.by_request(context, rules, placement, schemes, groups)
    share.by_choice(context, placement, schemes, groups)
    plans = settle_groups(context, _tensor_plans(context, placement, chosen, schemes, groups))
    tensors = {plan.tensor: plan for plan in plans}
    weights = tuple(_weights(context, active, tensors))
    return Draft(tensors, weights, tuple(_biases(context, active, tensors, weights)))


def choose(context: Context, placement: Placement) -> dict[str, Chosen]:
    """The scheme of every placed tensor, in graph order. What only moves integers takes the scheme of its input, unless
    a rule speaks of its own output."""
    found: dict[str, Chosen] = {}
    for tensor in sorted(placement, key=context.order.__getitem__):
        own = context.activation(tensor, context.speakers(tensor, placement))
        writer = context.view.producer(tensor)
        if writer is not None and context.rows[writer.index].same_scale and not own.explicit:
            own = found.get(writer.inputs[0], own)
        found[tensor] = own
    return found


def _tensor_plans(
    context: Context, placement: Placement, chosen: dict[str, Chosen], schemes: dict[str, Scheme], groups: Groups
) -> Iterable[TensorPlan]:
    for tensor, scheme in schemes.items():
        placed = placement[tensor]
        speakers = context.speakers(tensor, placement)
        yield TensorPlan(
            tensor=tensor,
            scheme=scheme,
            readers=tuple(_reader(context, slot) for slot in sorted(placed, key=_last_is_output)),
            group=groups.name(tensor),
            observe=tensor not in groups.copies,
            calibration=calibration(context, tensor, speakers, scheme),
            origin=chosen[tensor].origin,
            placed=_strongest(placed.values()),
        )


def _last_is_output(slot: Slot) -> tuple[bool, Slot]:
    return slot == GRAPH_OUTPUT, slot


def _reader(context: Context, slot: Slot) -> Reader:
    return Reader("", -1) if slot == GRAPH_OUTPUT else Reader(context.view.nodes[slot[0]].name, slot[1])


def _strongest(origins: Iterable[Origin]) -> Origin:
    """A line of the recipe over a row of the table; among lines, the last."""
    return max(origins, key=lambda origin: (origin.line > 0, origin.line, origin))


def _weights(context: Context, active: frozenset[int], tensors: dict[str, TensorPlan]) -> Iterable[WeightPlan]:
    for node in context.view.nodes:
        row = context.rows[node.index]
        if node.index in context.kept:
            continue
        through = _first_pair(context, node, row, tensors)
        paired = row.constant_ports(node, context.view) if through is not None and node.index in active else ()
        yield from _stored(context, node, paired)
        if not row.computes:
            continue
        asked = context.weight(node.index)
        for port in row.weight_ports(node, context.view):
            if not _is_float32(context, node, port) or asked.scheme is None:
                continue
            if blockless(context, node):
                continue
            wanted = through is not None and node.index in active
            alone = through is None and weight_only.executes(context, node, port, asked.scheme)
            if wanted or alone or asked.scheme.storage_only:
                yield _weight(context, node, row, port, asked)
        if through is None or node.index not in active:
            continue
        for port in row.constant_ports(node, context.view):
            if _is_float32(context, node, port):
                yield WeightPlan(node.name, port, node.inputs[port], through.scheme, None, through.origin)


def _stored(context: Context, node: NodeView, paired: tuple[int, ...]) -> Iterable[WeightPlan]:
    """The weights of an operator that computes in float, where the recipe stores them as integers; those at `paired`
    ports are integers already, beside the activations."""
    found = context.capability.store_for(node, context.view)
    scheme = context.weight(node.index).scheme if found is not None else None
    if found is None or scheme is None or not scheme.storage_only:
        return
    rule, ports = found
    for port in ports:
        shape = context.view.tensors[node.inputs[port]].shape or ()
        channels = rule.channels(node, port, len(shape))
        if _is_float32(context, node, port) and channels is not None and port not in paired:
            axis = channels if scheme.granularity is Granularity.PER_CHANNEL else None
            if scheme.granularity is Granularity.PER_BLOCK:  # where they are longest
                sizes = {at: size for at, size in enumerate(shape) if isinstance(size, int) and at != channels}
                axis = max(sizes, key=sizes.__getitem__)
            yield WeightPlan(node.name, port, node.inputs[port], scheme, axis, context.weight(node.index).origin)


def _first_pair(context: Context, node: NodeView, row: Row, tensors: dict[str, TensorPlan]) -> TensorPlan | None:
    """The plan of the first data input that `node` reads through a pair."""
    for port in row.activation_ports(node, context.view):
        plan = tensors.get(node.inputs[port])
        if plan is not None and plan.read_by(node.name, port):
            return plan
    return None


def _is_float32(context: Context, node: NodeView, port: int) -> bool:
    return context.view.tensors[node.inputs[port]].dtype == "float32"


def _weight(context: Context, node: NodeView, row: Row, port: int, asked: Chosen) -> WeightPlan:
    scheme = asked.scheme
    assert scheme is not None
    axis = row.channel_axis.of(node) if row.channel_axis else 0
    shape = context.view.tensors[node.inputs[port]].shape
    if shape is not None and node.op == "MatMul":
        axis = len(shape) - 1
    if scheme.granularity is Granularity.PER_CHANNEL and undivided(context, node, row, port, scheme):
        scheme = replace(scheme, granularity=Granularity.PER_TENSOR)
    if scheme.granularity is Granularity.PER_BLOCK:
        blocks = axis - 1 if axis else 1
        return WeightPlan(node.name, port, node.inputs[port], scheme, blocks, asked.origin)
    channels = axis if scheme.granularity is Granularity.PER_CHANNEL else None
    held = guard(context, node, port, row.kernel_for(node), scheme)
    return WeightPlan(node.name, port, node.inputs[port], scheme, channels, asked.origin, held)


def _computed(context: Context, scheme: Scheme) -> bool:
    """Whether the target computes with such weights. One that does will, even where the recipe only asks to store them,
    and would make integers of a float bias by itself, in steps that may overflow."""
    return context.capability.accepts(WEIGHT, replace(scheme, storage_only=False)).executed


def float_biases(context: Context, draft: Draft) -> Iterable[BiasPlan]:
    """The biases that stay float beside integer weights and activations: those that a target adds as floats, and those
    of nodes whose weights are only stored as integers."""
    stored = {(bias.node, bias.port) for bias in draft.biases}
    for weight in draft.weights:
        node = context.view.node(weight.node)
        row = context.rows[node.index]
        bias = row.bias_port(node, context.view)
        through = _first_pair(context, node, row, draft.tensors)
        if bias is None or (node.name, bias) in stored or weight.port not in row.weights:
            continue
        if through is not None and _is_float32(context, node, bias):
            yield BiasPlan(node.name, bias, node.inputs[bias], through.tensor, weight.port, weight.origin)


def _biases(
    context: Context, active: frozenset[int], tensors: dict[str, TensorPlan], weights: tuple[WeightPlan, ...]
) -> Iterable[BiasPlan]:
    for weight in weights:
        node = context.view.node(weight.node)
        row = context.rows[node.index]
        bias = row.bias_port(node, context.view)
        if row.float_bias:
            continue
        stored_only = node.index not in active or not _computed(context, weight.scheme)
        stored_only = stored_only or (weight.axis is not None and bias_of_rows(node, row, context.view))
        if bias is None or weight.port not in row.weights or stored_only or not _is_float32(context, node, bias):
            continue
        through = _first_pair(context, node, row, tensors)
        if through is not None and not through.scheme.storage_only and through.scheme.dtype.bits == 8:
            yield BiasPlan(node.name, bias, node.inputs[bias], through.tensor, weight.port, weight.origin)
