"""Where a plan could take an alternative of its target's table, and which of those the measured ranges decide.

An alternative speaks of nodes that run in integers by default; one that a rule of the recipe speaks of is none: the
rule has decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from qdsl.capability.alternatives import ALL, BY_RANGES, BY_TIMING, GROWING, IN_FLOAT, Alternative
from qdsl.cascade.rule_words import table_alternative
from qdsl.graph.view import NodeView
from qdsl.lang.recipe import Edge, Port
from qdsl.plan.build import Decisions
from qdsl.spec.plan import FIXED, Choice, TensorPlan

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An alternative and where it could be taken: regions (names of nodes in graph order) in the order in which they
    are tried. A region of a growing alternative stands on the one before it and names only what is new."""

    alternative: Alternative
    regions: tuple[tuple[str, ...], ...]


def candidates(decisions: Decisions, decided_by: str = BY_TIMING) -> tuple[Candidate, ...]:
    """The alternatives decided by timing (or by ranges) that this plan could take, in the table's order."""
    if decisions.plan.mode != "static":
        return ()
    rows = (row for row in decisions.context.capability.alternatives if row.decided_by == decided_by)
    found = (Candidate(row, _regions(decisions, row)) for row in rows)
    return tuple(candidate for candidate in found if candidate.regions)


def settled_by_ranges(decisions: Decisions, low: Mapping[str, float], high: Mapping[str, float]) -> tuple[Choice, ...]:
    """The common scales that cost nothing, node by node in graph order. Within one, a tensor that nothing else reads
    loses nothing, since its values are rounded to the output's scale anyway; any other has to keep its steps."""
    found = []
    for candidate in candidates(decisions, BY_RANGES):
        groups = _Groups(decisions, low, high)
        row = candidate.alternative
        origin = table_alternative(decisions.context.capability.name, row.name)
        for (name,) in candidate.regions:
            kept = groups.kept_steps(decisions.context.view.node(name))
            if kept is None or 100 * kept < row.keeps_steps:
                continue
            groups.join(decisions.context.view.node(name))
            found.append(Choice(row.name, (name,), f"every range keeps {int(100 * kept)} % of its steps", origin))
    return tuple(found)


def without_losses(before: Decisions, after: Decisions, shares: Sequence[Choice]) -> tuple[Choice, ...]:
    """Of common scales chosen for `before`, those that may stay: all, where each node of `after`, decided under them,
    runs in integers as before. Else none around what a node reads or writes that no longer does: one scale may part an
    activation from the kernel that it folds into, whose result would then need a range of its own. Fewer than given, or
    the same."""
    lost = [
        node
        for node in after.context.view.nodes
        if after.predictions[node.name].runs == "float" and before.predictions[node.name].runs != "float"
    ]
    if not lost:
        return tuple(shares)
    tensors = after.draft.tensors
    groups = {tensors[name].group for node in lost for name in (*node.inputs, *node.outputs) if name in tensors}
    kept = [choice for choice in shares if not groups & _groups_around(after, choice)]
    return tuple(kept) if len(kept) < len(shares) else ()


def _groups_around(decisions: Decisions, choice: Choice) -> set[str]:
    tensors = decisions.draft.tensors
    nodes = [decisions.context.view.node(name) for name in choice.nodes]
    return {tensors[name].group for node in nodes for name in _tensors(decisions, node) if name in tensors}


def still_open(decisions: Decisions, trials: int) -> tuple[str, ...]:
    """What measurements have yet to choose, with its bounds. `trials` 0: nothing is timed."""
    found = []
    for candidate in candidates(decisions, BY_RANGES):
        row, count = candidate.alternative, len(candidate.regions)
        bound = f"where every range keeps {row.keeps_steps} % of its steps"
        found.append(f"{row.name}: at up to {count} {_plural(count)}, {bound}")
    for candidate in candidates(decisions) if trials else ():
        count = len({name for region in candidate.regions for name in region})
        tried = min(trials, len(candidate.regions))
        found.append(
            f"{candidate.alternative.name}: up to {count} {_plural(count)}, by timing, {tried} of {trials} trials"
        )
    return tuple(found)


def _plural(count: int) -> str:
    return "node" if count == 1 else "nodes"


def _regions(decisions: Decisions, row: Alternative) -> tuple[tuple[str, ...], ...]:
    nodes = (node for node in decisions.context.view.nodes if _takes(decisions, row, node))
    if row.regions == GROWING:
        return _growing(decisions, row, tuple(islice(nodes, row.most)))
    alone = [(node.name, *_along(decisions, row, {node.index})) for node in nodes]
    if row.regions != ALL:
        return tuple(alone)
    every = {name: None for region in alone for name in region}
    return (tuple(every),) if every else ()


def _growing(decisions: Decisions, row: Alternative, nodes: Sequence[NodeView]) -> tuple[tuple[str, ...], ...]:
    regions: list[tuple[str, ...]] = []
    inside: set[int] = set()
    for node in nodes:
        inside.add(node.index)
        along = _along(decisions, row, inside)
        before = {name for region in regions for name in region}
        regions.append((node.name, *(name for name in along if name not in before)))
    return tuple(regions)


def _along(decisions: Decisions, row: Alternative, inside: set[int]) -> list[str]:
    """The names of nodes that go along with `inside`: all that they read comes from the region."""
    view, context = decisions.context.view, decisions.context
    region = set(inside)
    found = []
    for node in view.nodes[min(inside) :]:
        if node.index in region or node.op not in row.through or not _free(decisions, node):
            continue
        sources = [view.tensors[node.inputs[port]].producer for port in context.data_ports(node)]
        if sources and all(source in region for source in sources):
            region.add(node.index)
            found.append(node.name)
    return found


def _takes(decisions: Decisions, row: Alternative, node: NodeView) -> bool:
    view = decisions.context.view
    if node.domain or node.op not in row.ops or not row.when.holds(node, view) or not _free(decisions, node):
        return False
    if decisions.predictions[node.name].runs != "integer":
        return False
    return row.edit == IN_FLOAT or _could_share(decisions, node)


def _free(decisions: Decisions, node: NodeView) -> bool:
    """Whether no rule of the recipe has decided about the node."""
    context = decisions.context
    if node.index in context.kept:
        return False
    touched = {*node.inputs, *node.outputs}
    if any(change.tensor in touched for change in decisions.edits) or node.index in _shared_by_request(decisions):
        return False
    asked = [context.asked("activations", tensor, context.speakers(tensor, ())) for tensor in node.outputs if tensor]
    asked.append(context.cascade.resolve("weights", context.cascade.node_rules[node.index]))
    return not any(one.explicit for one in asked)


def _shared_by_request(decisions: Decisions) -> set[int]:
    """Nodes that a `share scale across` rule picks."""
    where = [rule.where for rule in decisions.rules if rule.action == "share"]
    picks = [one.picks if isinstance(one, Port) else one for one in where if not isinstance(one, Edge)]
    return {node for each in picks for node in decisions.context.selection.nodes_and_tensors(each)[0]}


def _could_share(decisions: Decisions, node: NodeView) -> bool:
    plans = [decisions.draft.tensors.get(tensor) for tensor in _tensors(decisions, node)]
    known = [plan for plan in plans if plan is not None]
    if len(known) != len(plans) or len({plan.group for plan in known}) < 2:
        return False
    return len({plan.scheme for plan in known}) == 1


def _tensors(decisions: Decisions, node: NodeView) -> list[str]:
    """The data inputs and outputs of a node."""
    ports = decisions.context.data_ports(node)
    return [*dict.fromkeys(node.inputs[port] for port in ports), *(tensor for tensor in node.outputs if tensor)]


class _Groups:
    """The groups of a plan, joined step by step: what each covers by itself, and the range of the scale it has by now.
    Ends are real values that include 0."""

    def __init__(self, decisions: Decisions, low: Mapping[str, float], high: Mapping[str, float]) -> None:
        self._decisions = decisions
        self._members: dict[str, list[TensorPlan]] = {}
        for plan in decisions.draft.tensors.values():
            self._members.setdefault(plan.group, []).append(plan)
        self._own = {group: _union(_ends(plan, low, high) for plan in plans) for group, plans in self._members.items()}
        self._scale = {group: group for group in self._members}
        self._reach = dict(self._own)
        self._sharing: set[str] = set()

    def kept_steps(self, node: NodeView) -> float | None:
        """The least share of its steps that a group which others read keeps under one scale around `node`, against
        the scale it had of its own; None where a range is not known or all share one already."""
        scales = self._scales(node)
        joined = _union(self._reach[scale] for scale in scales)
        inside = [group for group, scale in self._scale.items() if scale in scales]
        if joined is None or len(scales) < 2 or any(self._own[group] is None for group in inside) or not _width(joined):
            return None
        read = [group for group in inside if self._read_by_others(group, node)]
        return min((_width(self._own[group]) / _width(joined) for group in read), default=1.0)

    def join(self, node: NodeView) -> None:
        """Give the groups around `node` one scale."""
        scales = self._scales(node)
        self._reach[scales[0]] = _union(self._reach[scale] for scale in scales)
        self._scale = {group: scales[0] if scale in scales else scale for group, scale in self._scale.items()}
        self._sharing.add(node.name)

    def _scales(self, node: NodeView) -> list[str]:
        tensors = self._decisions.draft.tensors
        return list(dict.fromkeys(self._scale[tensors[name].group] for name in _tensors(self._decisions, node)))

    def _read_by_others(self, group: str, node: NodeView) -> bool:
        """Whether a value of the group is used other than by `node`, by nodes that share one scale already (what reads
        their outputs counts there), or by moving it within the group."""
        inside = {plan.tensor for plan in self._members[group]}
        view = self._decisions.context.view
        for reader in (reader for plan in self._members[group] for reader in plan.readers):
            if reader.node == node.name or reader.node in self._sharing:
                continue
            moves = reader.node and self._decisions.predictions[reader.node].runs == "moves"
            if not moves or not inside.issuperset(t for t in view.node(reader.node).outputs if t):
                return True
        return False


def _ends(plan: TensorPlan, low: Mapping[str, float], high: Mapping[str, float]) -> Ends | None:
    known = plan.calibration
    if known.low is not None and known.high is not None and (plan.observe or known.method == FIXED):
        return min(0.0, known.low), max(0.0, known.high)
    if not plan.observe or plan.tensor not in low or plan.tensor not in high:
        return None
    ends = min(0.0, low[plan.tensor]), max(0.0, high[plan.tensor])
    return (-max(-ends[0], ends[1]), max(-ends[0], ends[1])) if plan.scheme.symmetric else ends


def _union(found: Iterable[Ends | None]) -> Ends | None:
    known = [ends for ends in found if ends is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _width(ends: Ends | None) -> float:
    return 0.0 if ends is None else ends[1] - ends[0]
