"""Integer weights with float activations: where they execute, and what a recipe is told that asks for more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from qdsl.capability import Row
from qdsl.capability.model import EDGES
from qdsl.diag import Span
from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.plan.shapes import blockless
from qdsl.spec import Scheme
from qdsl.spec.plan import TensorPlan, WeightPlan

_SHOWN = 3
_NARROWER = 'take a type of 4 or 8 bits for this node: `layers "..." { weights int4 storage_only }`'
_FLOAT = 'leave this node out: `layers "..." { weights float32 }`, or take another block size or granularity'


def executes(context: Context, node: NodeView, port: int, scheme: Scheme) -> bool:
    """Whether `node` is left to a kernel that computes with the weight at `port` as it is stored: in `quantize float`,
    or where the type runs so in any build."""
    only = context.rows[node.index].weight_only
    if only is None or not _judged(context, scheme):
        return False
    return only.takes(node, context.view, port, scheme, lowered=True)


def check(context: Context, weights: Sequence[WeightPlan], tensors: Mapping[str, TensorPlan]) -> None:
    """Report, once per request, the nodes whose integer weights would neither run nor be stored only, and those that
    would not load or give wrong answers."""
    _check_sound(context, weights, tensors)
    _check_mixed(context, weights, tensors)
    stored = {(weight.node, weight.port) for weight in weights}
    left: dict[tuple[Span, Scheme], list[NodeView]] = {}
    for node in context.view.nodes:
        row = context.rows[node.index]
        asked = context.weight(node.index)
        if not row.weights or node.index in context.kept or asked.scheme is None or asked.span is None:
            continue
        if not _judged(context, asked.scheme):
            continue
        if asked.scheme.storage_only and blockless(context, node):
            continue
        ports = [port for port in row.weight_ports(node, context.view) if context.is_float32(node.inputs[port])]
        if any((node.name, port) not in stored for port in ports):
            left.setdefault((asked.span, asked.scheme), []).append(node)
    for (span, scheme), nodes in sorted(left.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        _refuse(context, span, scheme, nodes)


def _judged(context: Context, scheme: Scheme) -> bool:
    """Whether it is a matter of each node if weights of `scheme` run."""
    return context.schemes.floats is not None or context.capability.stands_alone(scheme.dtype)


def _check_sound(context: Context, weights: Sequence[WeightPlan], tensors: Mapping[str, TensorPlan]) -> None:
    found: dict[Span, tuple[WeightPlan, str, str]] = {}
    for weight in weights:
        node = context.view.node(weight.node)
        span = context.weight(node.index).span
        for reason, cure in ((_unsound(context, node, weight, tensors), _NARROWER), (_unread(context, weight), _FLOAT)):
            if reason and span is not None:
                found.setdefault(span, (weight, reason, cure))
    for span, (weight, reason, cure) in sorted(found.items()):
        context.diags.error(
            "target-cannot",
            f"{context.capability.title} cannot run `{weight.node}` with {weight.scheme.dtype} weights",
            span,
            label=reason,
            help=[cure],
        )


def _check_mixed(context: Context, weights: Sequence[WeightPlan], tensors: Mapping[str, TensorPlan]) -> None:
    """Report products of two types that no kernel multiplies, where pairs stand on edges: others lose theirs, but for
    those that a rule put there."""
    if context.capability.placement != EDGES:
        return
    stored = {(weight.node, weight.port): weight.scheme for weight in weights}
    for node in context.view.nodes:
        if not context.rows[node.index].computes:
            continue
        pairs = [tensors[name] for port, name in enumerate(node.inputs) if _paired(node, port, tensors)]
        held = [scheme for port in range(len(node.inputs)) if (scheme := stored.get((node.name, port))) is not None]
        types = dict.fromkeys(scheme.dtype.name for scheme in (*(pair.scheme for pair in pairs), *held))
        if not pairs or len(types) < 2 or any(context.capability.stands_alone(scheme.dtype) for scheme in held):
            continue
        context.diags.error(
            "target-cannot",
            f"{context.capability.title} cannot run `{node.name}` on {' and '.join(types)}",
            context.weight(node.index).span or context.cascade.mode.span,
            label=context.capability.reasons["mixed_product"].format(types=" by ".join(types)),
            help=["give its weights and what it reads one type, or take its pairs out: `leave` in `place`"],
        )


def _paired(node: NodeView, port: int, tensors: Mapping[str, TensorPlan]) -> bool:
    return node.inputs[port] in tensors and tensors[node.inputs[port]].read_by(node.name, port)


def _unread(context: Context, weight: WeightPlan) -> str:
    """Why the target's software would refuse the stored constant, or read it otherwise; "" where it does neither."""
    table, scheme = context.capability, weight.scheme
    kind, shape = table.type_row(scheme.dtype), context.view.tensors[weight.tensor].shape or ()
    sizes = [size for size in shape if isinstance(size, int)]
    if kind is not None and kind.even and prod(sizes) % 2:
        return table.reasons["odd_elements"].format(type=scheme.dtype)
    if not table.whole_blocks or scheme.block is None or weight.axis is None:
        return ""
    if weight.axis % len(shape) < len(shape) - 2:
        return table.reasons["block_axis"]
    size = sizes[weight.axis]
    return table.reasons["cut_block"].format(size=size, block=scheme.block) if size % scheme.block else ""


def _unsound(context: Context, node: NodeView, weight: WeightPlan, tensors: Mapping[str, TensorPlan]) -> str:
    """Why the runtime would refuse or miscompute the node; "" where it does neither."""
    row, dtype = context.rows[node.index], weight.scheme.dtype
    kind, only = context.capability.type_row(dtype), row.weight_only
    alone = kind is not None and kind.alone and node.op not in kind.apart
    if only is None and not alone:
        return ""
    pairs = [(port, tensors[name]) for port, name in enumerate(node.inputs) if name in tensors]
    if any(pair.read_by(node.name, port) for port, pair in pairs):
        return context.capability.reasons["alone"].format(type=dtype) if alone else ""
    if only is None or not only.takes(node, context.view, weight.port, weight.scheme, lowered=True):
        return ""
    multiple = only.columns.get(dtype.name, 1)
    columns = (context.view.tensors[weight.tensor].shape or (0,))[row.channel_axis.of(node) if row.channel_axis else 0]
    if not isinstance(columns, int) or columns % multiple == 0:
        return ""
    return context.capability.reasons["columns"].format(
        kernel=only.kernel, type=dtype, multiple=multiple, columns=columns
    )


def _refuse(context: Context, span: Span, scheme: Scheme, nodes: list[NodeView]) -> None:
    first = nodes[0]
    ops = sorted({node.op for node in nodes})
    names = ", ".join(f"`{node.name}`" for node in nodes[:_SHOWN])
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    able = sorted({op for row in context.capability.rows if row.weight_only for op in row.ops})
    context.diags.error(
        "target-cannot",
        f"{context.capability.title} does not compute with {scheme} weights and float activations in "
        f"{len(nodes)} {', '.join(ops)}: {names}{more}",
        span,
        label=_why(context, context.rows[first.index], first),
        help=[
            "add `storage_only` to store the type and compute in float: "
            f"`layers op [{', '.join(ops)}] {{ weights {scheme.dtype} storage_only }}`",
            f"or ask it of what executes it: `layers op [{', '.join(able)}] {{ weights {scheme.dtype} }}`",
        ],
    )


def _why(context: Context, row: Row, node: NodeView) -> str:
    only = row.weight_only
    if only is None:
        return context.capability.reasons["no_weight_only"].format(op=node.op)
    blocks = ", ".join(map(str, only.blocks))
    types = ", ".join(dtype.name for dtype in only.types)
    return context.capability.reasons["weight_only"].format(op=node.op, kernel=only.kernel, types=types, blocks=blocks)
