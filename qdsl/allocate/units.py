"""What `allocate layers` decides one by one: groups of nodes of a plan, and the tensors that they hand to each other.

A group is a node with multiplications and the activation that folds into it, or nodes without multiplications that a
kernel of their own runs: those that follow one group, alone or one after the other, are a group, those that join
several begin one. What the recipe's rules have decided, and what the target runs in float anyway, is in none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from qdsl.cascade.carried import request_text
from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.graph.view import NodeView
from qdsl.lang.recipe import Allocate, LayersRule
from qdsl.lang.selectors import Picks
from qdsl.plan import Decisions
from qdsl.predict.macs_shapes import size

FLOAT, INTEGER = -1, -2  # instead of a group: what stays float, what a rule has put into integers


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are of one type, in graph order. `macs` are their multiplications and additions; `pinned` is the
    choice that a `pin` gives them, None for none."""

    nodes: tuple[str, ...]
    macs: int
    pinned: str | None = None

    @property
    def name(self) -> str:
        return self.nodes[0]


@dataclass(frozen=True, slots=True)
class Crossing:
    """A tensor that one group (or FLOAT, INTEGER) writes and others read."""

    tensor: str
    writer: int
    readers: tuple[int, ...]
    elements: int


@dataclass(frozen=True, slots=True)
class Groups:
    """All groups of a plan, and what crosses between them. `multiplying` are those with multiplications."""

    groups: tuple[Group, ...]
    crossings: tuple[Crossing, ...]

    @property
    def multiplying(self) -> tuple[int, ...]:
        return tuple(at for at, group in enumerate(self.groups) if group.macs)

    def nodes(self, chosen: Iterable[int]) -> list[str]:
        return [name for at in sorted(chosen) for name in self.groups[at].nodes]


def groups_of(decided: Decisions, spec: Allocate) -> Groups:
    """The groups of a plan that has nothing of `spec` in it yet, joined and pinned as `spec` says. Raises QdslError
    allocate-nothing where there is none, allocate-shape where of none is known how often it multiplies, allocate-pin
    for pins that contradict."""
    work = _Grouping(decided)
    owners = _joined(decided, spec, work.owners())
    names: dict[int, list[str]] = {}
    for node in decided.context.view.nodes:
        if owners[node.index] >= 0:
            names.setdefault(owners[node.index], []).append(node.name)
    order = {owner: at for at, owner in enumerate(names)}
    if not any(work.macs(name) for each in names.values() for name in each):
        unknown = _unknown(decided, [name for each in names.values() for name in each])
        raise QdslError([_shape(spec, unknown)]) if unknown else _nothing(spec)
    pins = _pins(decided, spec, owners)
    groups = tuple(Group(tuple(nodes), sum(map(work.macs, nodes)), pins.get(owner)) for owner, nodes in names.items())
    placed = [order.get(owner, owner) for owner in owners]
    return Groups(groups, tuple(_crossings(decided, placed)))


class _Grouping:
    def __init__(self, decided: Decisions) -> None:
        self._context, self._view = decided.context, decided.context.view
        self._plans = {node.node: node for node in decided.plan.nodes}

    def macs(self, name: str) -> int:
        return self._plans[name].macs or 0

    def owners(self) -> list[int]:
        """By node the first node of its group, or FLOAT or INTEGER."""
        owners: list[int] = []
        for node in self._view.nodes:
            owners.append(self._owner(node, owners))
        return owners

    def _owner(self, node: NodeView, owners: Sequence[int]) -> int:
        if not self._in_integers(node):
            return FLOAT
        if self._ruled(node):
            return INTEGER
        folded = self._context.folded_owner(node.outputs[0]) if node.outputs else None
        if folded is not None:
            return owners[folded]
        before = self._before(node, owners)
        if self._multiplies(node) or len(before) != 1:
            return node.index
        (one,) = before
        return one if one >= 0 and not self._multiplies(self._view.nodes[one]) else node.index

    def _before(self, node: NodeView, owners: Sequence[int]) -> set[int]:
        """Who wrote what it reads; FLOAT for an input of the graph. What one group's node and that group's reader wrote
        (x and sigmoid(x)) is as if the reader had written both."""
        found: set[int] = set()
        for port in self._context.data_ports(node):
            producer = self._view.tensors[node.inputs[port]].producer
            found.add(FLOAT if producer is None else owners[producer])
        if len(found) == 2:
            first, last = sorted(found)
            if first >= 0 and self._reads_only(last, first, owners):
                return {last}
        return found

    def _reads_only(self, reader: int, writer: int, owners: Sequence[int]) -> bool:
        """Whether the group that begins with node `reader` reads what the group of `writer` writes and nothing else."""
        node = self._view.nodes[reader]
        producers = [self._view.tensors[node.inputs[port]].producer for port in self._context.data_ports(node)]
        return bool(producers) and all(each is not None and owners[each] == writer for each in producers)

    def _in_integers(self, node: NodeView) -> bool:
        plan = self._plans[node.name]
        return plan.mark == "+" and node.index not in self._context.kept

    def _ruled(self, node: NodeView) -> bool:
        """Whether a `layers` rule of the recipe says which type it has."""
        cascade = self._context.cascade
        rules = cascade.rules((node.index,), node.outputs[0] if node.outputs else None)
        said = (cascade.spoken[rule].rule for rule in rules)
        return any(
            isinstance(rule, LayersRule) and (rule.settings.weights or rule.settings.activations) for rule in said
        )

    def _multiplies(self, node: NodeView) -> bool:
        return bool(self.macs(node.name)) or self._context.is_heavy(node.index)


def _joined(decided: Decisions, spec: Allocate, owners: list[int]) -> list[int]:
    """Owners, each `group` under one of them. Nodes that are in no group stay so."""
    for picks in spec.groups:
        together = {owners[node] for node in _picked(decided, picks) if owners[node] >= 0}
        if together:
            owners = [min(together) if owner in together else owner for owner in owners]
    return owners


def _picked(decided: Decisions, picks: Picks) -> tuple[int, ...]:
    return decided.context.selection.nodes_and_tensors(picks)[0]


def _pins(decided: Decisions, spec: Allocate, owners: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for pin in spec.pins:
        nodes = _picked(decided, pin.picks)
        owned = {owners[node] for node in nodes if owners[node] >= 0}
        for owner in sorted(owned):
            kind = request_text(pin.request)
            if found.setdefault(owner, kind) != kind:
                name = decided.context.view.nodes[owner].name
                headline = f"`{name[:80]}` is pinned to {found[owner]} and to {kind}"
                raise QdslError([Diagnostic("allocate-pin", headline, pin.span, help=("take one of both out",))])
    return found


def _crossings(decided: Decisions, placed: Sequence[int]) -> Iterator[Crossing]:
    context, view = decided.context, decided.context.view
    outputs = set(view.outputs)
    for name in context.order:
        if not context.quantizable(name):
            continue
        tensor = view.tensors[name]
        writer = FLOAT if tensor.producer is None else placed[tensor.producer]
        readers = {placed[use.node] for use in tensor.uses}
        readers |= {FLOAT} if name in outputs else set()
        if readers - {writer}:
            yield Crossing(name, writer, tuple(sorted(readers - {writer})), size(view, name) or 0)


def uncounted(decided: Decisions, groups: Groups, spec: Allocate) -> Iterator[Diagnostic]:
    """A warning where of some layers it is not known how often they multiply: they count as those that do not."""
    names = _unknown(decided, groups.nodes(range(len(groups.groups))))
    if names:
        yield replace(_shape(spec, names, ": no multiplication counts there"), severity=Severity.WARNING)


def _unknown(decided: Decisions, names: Iterable[str]) -> list[str]:
    macs = {node.node: node.macs for node in decided.plan.nodes}
    view, context = decided.context.view, decided.context
    return [name for name in names if macs[name] is None and context.is_heavy(view.node(name).index)]


def _shape(spec: Allocate, names: Sequence[str], so: str = "") -> Diagnostic:
    more = f", nor of {len(names) - 1} more" if len(names) > 1 else ""
    headline = f"how often `{names[0][:80]}` multiplies is not known{more}{so}"
    help = ('fix the free dimensions: `input "NAME" { shape [..] }`',)
    return Diagnostic("allocate-shape", headline, spec.header, help=help)


def _nothing(spec: Allocate) -> QdslError:
    headline = "`allocate layers` has nothing to decide: no node that multiplies runs in integers and is free of rules"
    help = ("`qdsl plan` without the block shows why", "`quantize static` puts layers into integers")
    return QdslError([Diagnostic("allocate-nothing", headline, spec.header, help=help)])
