"""Nodes that stay float, by request or since no kernel knows them, and that a runtime would fuse with the Q/DQ pairs
around them: the emitter gives each a copy of what it reads, which no fusion knows, and the predictor is asked about the
graph with those copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from qdsl.graph.view import GraphView, NodeView, TensorView, Use
from qdsl.plan.context import Context
from qdsl.predict.bounds import Interval
from qdsl.spec.plan import BiasPlan, Prediction, Reader, TensorPlan, WeightPlan

APART = "apart"  # the word of a row's `requires`
BECAUSE = "kept in float: it reads a copy, which the Q/DQ around it are not fused with"


def predict_kept(
    context: Context,
    tensors: Mapping[str, TensorPlan],
    weights: Sequence[WeightPlan],
    biases: Sequence[BiasPlan],
    ranges: Mapping[str, Interval] | None = None,
) -> tuple[dict[str, Prediction], tuple[Reader, ...]]:
    """The predictions for the emitted graph, by node name, and where nodes that the recipe keeps in float32, or that
    the table wants apart, have to read a copy for it."""
    unknown = dict(_unknown(context, tensors))
    apart = dict(unknown)
    while True:
        view = _with_copies(context, apart)
        read = {_reader(context.view, place): Reader(_copy_of(context.view, place[0]), 0) for place in apart.items()}
        planned = {name: _moved(plan, read) for name, plan in tensors.items()} if read else tensors
        found = context.runtime.predict(view, planned, weights, biases, context.capability, ranges)
        fused = dict(_fused(context, found))
        if not fused.keys() - apart.keys():
            break
        apart |= fused
    for node in apart:
        name = context.view.nodes[node].name
        because = f"{found[name].because}: {context.capability.reasons[APART]}" if node in unknown else BECAUSE
        found[name] = replace(found[name], because=because)
    for mover in _between_equals(context, tensors):
        if found[mover.name].runs == "float":
            found[mover.name] = replace(found[mover.name], runs="moves")
    predictions = {node.name: found[node.name] for node in context.view.nodes}
    return predictions, tuple(_reader(context.view, place) for place in sorted(apart.items()))


def emitted_view(
    context: Context, tensors: Mapping[str, TensorPlan], apart: Iterable[Reader]
) -> tuple[GraphView, dict[str, TensorPlan]]:
    """The graph as it is emitted, with a copy before each place of `apart`, and the pairs that are read through
    them."""
    places = {context.view.node_index[reader.node]: reader.port for reader in apart}
    read = {_reader(context.view, place): Reader(_copy_of(context.view, place[0]), 0) for place in places.items()}
    return _with_copies(context, places), {name: _moved(plan, read) for name, plan in tensors.items()}


def _unknown(context: Context, tensors: Mapping[str, TensorPlan]) -> Iterable[tuple[int, int]]:
    """The nodes between pairs that the runtime takes for ones that it has a kernel for, with the port of their data."""
    for node in context.view.nodes:
        if APART in context.rows[node.index].requires and node.outputs[0] in tensors:
            plan = tensors.get(node.inputs[0])
            if plan is not None and plan.read_by(node.name, 0):
                yield node.index, 0


def _fused(context: Context, found: Mapping[str, Prediction]) -> Iterable[tuple[int, int]]:
    """The nodes kept in float32 that would compute in integers, with the first port that reads no constant. What only
    moves values may move integers: nothing is lost."""
    for node in context.kept:
        if not context.rows[node].computes or not _in_float32(context, node):
            continue
        if found[context.view.nodes[node].name].runs != "integer":
            continue
        inputs = context.view.nodes[node].inputs
        ports = [port for port in context.data_ports(context.view.nodes[node]) if inputs[port]]
        free = [port for port in ports if not context.view.is_constant(inputs[port])]
        if free:
            yield node, free[0]


def _between_equals(context: Context, tensors: Mapping[str, TensorPlan]) -> Iterable[NodeView]:
    """The nodes that only move values, perhaps several in a row of which one is kept, from one pair to another: the
    same values give both the same scale, and then the integers move, too. Only ranges tell whether they are the
    same."""
    movers = [node for node in context.view.nodes if context.rows[node.index].same_scale and node.inputs]
    above = set(tensors)
    for node in movers:
        above.update(node.outputs if node.inputs[0] in above else ())
    below = set(tensors)
    for node in reversed(movers):
        below.update(node.inputs[:1] if below.intersection(node.outputs) else ())
    between = [node for node in movers if node.inputs[0] in above and below.intersection(node.outputs)]
    rows: dict[str, set[int]] = {}  # without a pair on the way, by what was written last
    for node in between:
        row = {node.index} if node.inputs[0] in tensors else rows.get(node.inputs[0], set()) | {node.index}
        rows.update(dict.fromkeys(node.outputs, row))
    ended = [row for node in between for name in node.outputs if name in tensors and (row := rows[name])]
    held = {index for row in ended if any(_in_float(context, each) for each in row) for index in row}
    return [node for node in between if node.index in held]


def _in_float(context: Context, node: int) -> bool:
    """Whether the recipe leaves a node, or what it writes, in float."""
    written = context.view.nodes[node].outputs[0]
    return node in context.kept or context.activation(written, context.speakers(written, ())).scheme is None


def _in_float32(context: Context, node: int) -> bool:
    kept = context.cascade.kept_in(node)  # a measurement may keep a node, too: in float32
    return kept is None or kept.name == "float32"


def _reader(view: GraphView, place: tuple[int, int]) -> Reader:
    return Reader(view.nodes[place[0]].name, place[1])


def _copy_of(view: GraphView, node: int) -> str:
    return f"{view.nodes[node].name}_kept"


def _moved(plan: TensorPlan, read: Mapping[Reader, Reader]) -> TensorPlan:
    if not any(reader in read for reader in plan.readers):
        return plan
    return replace(plan, readers=tuple(read.get(reader, reader) for reader in plan.readers))


def _with_copies(context: Context, apart: Mapping[int, int]) -> GraphView:
    """The graph with a copy before each of these ports."""
    view, copy = context.view, context.runtime.copy
    if not apart:
        return view
    nodes: list[NodeView] = []
    at: dict[int, int] = {}
    copies: dict[Use, int] = {}
    tensors = dict(view.tensors)
    for node in view.nodes:
        changed = node
        if node.index in apart:
            port = apart[node.index]
            copies[Use(node.index, port)] = len(nodes)
            source, name = node.inputs[port], _copy_of(view, node.index)
            nodes.append(NodeView(len(nodes), name, copy, "", (source,), (name,), {}, ()))
            uses = (Use(len(nodes), port),)
            old = tensors[source]
            tensors[name] = TensorView(name, "activation", old.dtype, old.shape, len(nodes) - 1, uses, False)
            changed = replace(node, inputs=(*node.inputs[:port], name, *node.inputs[port + 1 :]))
        at[node.index] = len(nodes)
        nodes.append(replace(changed, index=len(nodes)))
    for name, tensor in view.tensors.items():
        moved = tuple(Use(copies[use], 0) if use in copies else Use(at[use.node], use.port) for use in tensor.uses)
        tensors[name] = replace(tensor, producer=None if tensor.producer is None else at[tensor.producer], uses=moved)
    return replace(view, nodes=tuple(nodes), tensors=tensors)
