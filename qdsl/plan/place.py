"""Where Q/DQ pairs stand: the table's default placement, then the recipe's `place` rules, edge by edge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qdsl.capability import Row
from qdsl.capability.model import EDGES
from qdsl.cascade.rule_words import table_row
from qdsl.graph.view import NodeView
from qdsl.lang.recipe import Edge, PlaceRule, Port
from qdsl.plan.context import Context
from qdsl.spec.plan import Origin

GRAPH_OUTPUT = (-1, -1)
Slot = tuple[int, int]  # node index and input port, or GRAPH_OUTPUT
Placement = dict[str, dict[Slot, Origin]]


@dataclass(frozen=True, slots=True)
class Edit:
    """One edge that a `place` rule speaks of. `pair`: whether a Q/DQ pair stands on it."""

    tensor: str
    slot: Slot
    pair: bool
    origin: Origin


class Components:
    """Which nodes are worth integers: those connected, through nodes that can run in integers, to one with weights."""

    def __init__(self, context: Context, able: Iterable[int]) -> None:
        self._parent = {node: node for node in able}
        for node in self._parent:
            self._join(context, node)
        heavy = {self._root(node) for node in self._parent if context.is_heavy(node)}
        self.active = frozenset(node for node in self._parent if self._root(node) in heavy)

    def _join(self, context: Context, node: int) -> None:
        for name in context.view.nodes[node].inputs:
            tensor = context.view.tensors.get(name)
            if tensor is not None and tensor.producer in self._parent and tensor.dtype == "float32":
                self._parent[self._root(node)] = self._root(tensor.producer)

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node


def default_placement(context: Context, active: frozenset[int], bare: frozenset[str], unfolded: set[int]) -> Placement:
    """The target's own placement: around every active node with an integer kernel, then along the nodes that only
    move integers. `bare` tensors stay float by request; the activations behind `unfolded` nodes do not fold. Of a
    table that places by edges, before the ports alone that ask for it."""
    if context.capability.placement == EDGES:
        return _edge_by_edge(context, active, bare)
    wanted: dict[str, Origin] = {}

    def want(tensor: str, row: str) -> None:
        if tensor and tensor not in bare and context.quantizable(tensor):
            wanted.setdefault(tensor, table_row(context.capability.name, row))

    for node in context.view.nodes:
        row = context.rows[node.index]
        if node.index not in active or not row.computes:
            continue
        for port in row.activation_ports(node, context.view):
            want(node.inputs[port], row.name)
        if row.output_quantized:
            for tensor in node.outputs:
                want(tensor if node.index in unfolded else behind(context, tensor, active), row.name)
    for node in context.view.nodes:
        row = context.rows[node.index]
        if row.same_scale and node.index in active and node.inputs and node.inputs[0] in wanted:
            for tensor in node.outputs:
                want(tensor, row.name)
    placed = {tensor: dict.fromkeys(slots(context, tensor), origin) for tensor, origin in wanted.items()}
    return {tensor: places for tensor, places in placed.items() if places}  # no pair on what nobody reads


def _edge_by_edge(context: Context, active: frozenset[int], bare: frozenset[str]) -> Placement:
    """Pairs before the inputs of every active node with an integer kernel, and before the skip of each residual
    addition that one of them writes into."""
    placed: Placement = {}
    for node in context.view.nodes:
        row = context.rows[node.index]
        for port in (*_asked_ports(context, node, row, active), *_skip_port(context, node, row, active)):
            tensor = node.inputs[port]
            if tensor not in bare and context.quantizable(tensor):
                placed.setdefault(tensor, {})[node.index, port] = table_row(context.capability.name, row.name)
    return placed


def _asked_ports(context: Context, node: NodeView, row: Row, active: frozenset[int]) -> tuple[int, ...]:
    runs = row.computes and not row.only_asked and node.index in active and not context.stands_alone(node.index)
    return row.activation_ports(node, context.view) if runs else ()


def _skip_port(context: Context, node: NodeView, row: Row, active: frozenset[int]) -> tuple[int, ...]:
    """The skip of an addition whose other branch is what an active node writes: with a float skip that node has to
    write floats, too."""
    port = context.skips.get(node.index) if row.skip and node.index not in context.kept else None
    if port is None:
        return ()
    branch = context.view.producer(node.inputs[1 - port])
    return (port,) if branch is not None and branch.index in active else ()


def behind(context: Context, tensor: str, active: frozenset[int]) -> str:
    """`tensor`, or what the activation writes that folds into its producer."""
    folded = context.folded(tensor)
    return folded if folded is not None and context.view.tensors[folded].producer in active else tensor


def slots(context: Context, tensor: str) -> list[Slot]:
    """Every place that can read `tensor` through a pair: input ports of nodes, then the graph output. The body of an
    If, Loop or Scan reads by name (port -1) and stays on the float value."""
    found = context.view.tensors[tensor]
    ports = [(use.node, use.port) for use in found.uses if use.port >= 0]
    return ports + ([GRAPH_OUTPUT] if found.is_output else [])


def edits(context: Context, rules: Iterable[PlaceRule]) -> tuple[Edit, ...]:
    """What the `quantize` and `leave` rules of the recipe do, in order. A rule that reaches no float tensor is an
    error."""
    found: list[Edit] = []
    for rule in rules:
        if rule.action == "share":
            continue
        known = len(context.diags)
        reached = [(t, s) for t, s in _reach(context, rule) if context.quantizable(t)]
        origin = context.origins.of_place(rule)
        found += [Edit(tensor, slot, rule.action == "quantize", origin) for tensor, slot in reached]
        if not reached and len(context.diags) == known:
            context.diags.error(
                "setting-unused",
                "this rule reaches no tensor that could be quantized",
                rule.where.span,
                label="only float32 tensors that a node writes or the graph reads can hold a Q/DQ pair",
            )
    return tuple(found)


def apply_edits(placement: Placement, changes: Iterable[Edit]) -> None:
    """Carry out `changes` on `placement`, in place and in order: the last word on an edge holds."""
    for change in changes:
        if change.pair:
            placement.setdefault(change.tensor, {})[change.slot] = change.origin
        elif change.tensor in placement:
            placement[change.tensor].pop(change.slot, None)
            if not placement[change.tensor]:
                del placement[change.tensor]


def _reach(context: Context, rule: PlaceRule) -> list[tuple[str, Slot]]:
    where = rule.where
    if isinstance(where, Edge):
        return _edges(context, where)
    if isinstance(where, Port):
        nodes = [context.view.nodes[i] for i in context.selection.nodes(where.picks)]
        return [pair for node in nodes for pair in _port(context, where.name, node)]
    return [(tensor, slot) for tensor in context.selection.tensors(where) for slot in slots(context, tensor)]


def _port(context: Context, name: str, node: NodeView) -> list[tuple[str, Slot]]:
    if name == "outputs":
        return [(tensor, slot) for tensor in node.outputs if tensor for slot in slots(context, tensor)]
    if name == "skip":
        port = context.skips.get(node.index)
        return [] if port is None else [(node.inputs[port], (node.index, port))]
    return [(node.inputs[port], (node.index, port)) for port in context.data_ports(node)]


def _edges(context: Context, edge: Edge) -> list[tuple[str, Slot]]:
    found = context.selection.edges(edge)
    return [(context.view.nodes[reader].inputs[port], (reader, port)) for _, reader, port in found]
