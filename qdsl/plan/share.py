"""Which quantized tensors have one scale: operators that copy integers, and what `share scale across` asks for."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qdsl.diag import Span
from qdsl.graph.view import GraphView, NodeView
from qdsl.graph.walk import chain
from qdsl.lang.recipe import PlaceRule, Port
from qdsl.lang.selectors import Picks
from qdsl.plan.context import Context
from qdsl.plan.place import Placement, Slot
from qdsl.spec import Scheme


@dataclass
class Groups:
    """Union-find over tensors. A group is named after its first tensor in graph order. `copies` are the tensors that
    hold nothing but values of another member: they need no observer."""

    order: Mapping[str, int]
    copies: set[str] = field(default_factory=set)
    _parent: dict[str, str] = field(default_factory=dict)

    def name(self, tensor: str) -> str:
        """The group's name: its first tensor in graph order."""
        while (above := self._parent.get(tensor, tensor)) != tensor:
            self._parent[tensor] = self._parent.get(above, above)
            tensor = above
        return tensor

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.name(one), self.name(other)), key=lambda t: (self.order.get(t, -1), t))
        if first != second:
            self._parent[second] = first


def by_structure(context: Context, placement: Placement, schemes: Mapping[str, Scheme]) -> Groups:
    """One group over the input and outputs of each operator that only moves integers, where both sides hold a pair."""
    groups = Groups(context.order)
    for node in context.view.nodes:
        if not context.rows[node.index].same_scale or node.index in context.kept or not node.inputs:
            continue
        source = node.inputs[0]
        if (node.index, 0) not in placement.get(source, ()):
            continue
        for tensor in node.outputs:
            if tensor in placement and schemes[tensor] == schemes[source]:
                groups.join(source, tensor)
                groups.copies.add(tensor)
    return groups


def shifted(view: GraphView) -> Iterator[tuple[NodeView, NodeView]]:
    """The Clip and the Relu of each Relu(Clip(x) - t), t a constant."""
    for node in view.nodes:
        found = chain(view, node.inputs[0], "Clip", "Add") if node.op == "Relu" and not node.domain else None
        if found is not None and view.is_constant(found[1].inputs[1]):
            yield found[0], node


def by_shift(context: Context, placement: Placement, schemes: Mapping[str, Scheme], groups: Groups) -> None:
    """One scale over what a Clip writes and what comes of it below: Relu(Clip(x) - t), t per channel, as `equalize`
    writes it. In the steps of the Clip, t is a whole number, and a channel that was zero is zero again."""
    for clip, relu in shifted(context.view):
        bounded, cut = clip.outputs[0], relu.outputs[0]
        if bounded in placement and cut in placement and schemes[bounded] == schemes[cut]:
            groups.join(bounded, cut)


def by_request(
    context: Context,
    rules: Iterable[PlaceRule],
    placement: Placement,
    schemes: Mapping[str, Scheme],
    groups: Groups,
) -> None:
    """Merge what the recipe's `share scale across` rules name. Only tensors with a pair can share; a rule that joins
    none, and one that joins different schemes, is an error."""
    for rule in rules:
        if rule.action != "share":
            continue
        known = len(context.diags)
        sets = [[t for t in dict.fromkeys(members) if t in placement] for members in _sets(context, rule, placement)]
        joined = [members for members in sets if len(members) > 1]
        for members in joined:
            _join(context, members, schemes, groups, rule.where.span)
        if not joined and len(context.diags) == known:
            context.diags.error(
                "setting-unused",
                "this rule joins no two quantized tensors",
                rule.where.span,
                label="a shared scale needs at least two tensors that hold a Q/DQ pair",
                help=["`quantize` them in the same `place` block"],
            )


def joining_rule(
    context: Context, rules: Iterable[PlaceRule], placement: Placement, tensors: Container[str]
) -> PlaceRule | None:
    """The last `share scale across` rule that joins two of `tensors`; None when no rule does."""
    found = None
    for rule in rules:
        if rule.action == "share" and any(
            len({name for name in members if name in tensors}) > 1 for members in _sets(context, rule, placement)
        ):
            found = rule
    return found


def by_choice(context: Context, placement: Placement, schemes: Mapping[str, Scheme], groups: Groups) -> None:
    """One scale around each node for which a measurement chose it, among tensors of one scheme."""
    for index in context.shared:
        members = [*_read_in_pairs(context, index, placement), *context.view.nodes[index].outputs]
        placed = [tensor for tensor in members if tensor in placement]
        for other in placed[1:]:
            if schemes[other] == schemes[placed[0]]:
                groups.join(placed[0], other)


def _sets(context: Context, rule: PlaceRule, placement: Placement) -> list[list[str]]:
    where = rule.where
    if isinstance(where, Port):
        nodes = [context.view.nodes[i] for i in context.selection.nodes(where.picks)]
        if where.name == "outputs":
            return [list(node.outputs) for node in nodes]
        return [_read_in_pairs(context, node.index, placement) for node in nodes]
    assert isinstance(where, Picks)
    indices, tensors = context.selection.nodes_and_tensors(where)
    whole = [[*_read_in_pairs(context, i, placement), *context.view.nodes[i].outputs] for i in indices]
    return [*whole, list(tensors)] if tensors else whole


def _read_in_pairs(context: Context, index: int, placement: Placement) -> list[str]:
    """The data inputs that the node reads through a pair."""
    node = context.view.nodes[index]
    reads: list[tuple[str, Slot]] = [(node.inputs[p], (index, p)) for p in context.data_ports(node)]
    return [tensor for tensor, slot in reads if slot in placement.get(tensor, ())]


def _join(context: Context, members: list[str], schemes: Mapping[str, Scheme], groups: Groups, span: Span) -> None:
    first = members[0]
    for other in members[1:]:
        if schemes[other] == schemes[first]:
            groups.join(first, other)
            continue
        context.diags.error(
            "share-mismatch",
            f"`{first}` and `{other}` cannot share a scale: their types differ",
            span,
            label=f"{schemes[first]} and {schemes[other]}",
            help=["give both the same `activations`"],
        )
