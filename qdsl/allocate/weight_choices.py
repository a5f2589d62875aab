"""What there is to choose from: which nodes `allocate weights` decides, and the plan of each choice on all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from qdsl.cascade.assigned import STORED, with_assigned
from qdsl.cascade.carried import request_text
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.view import NodeView
from qdsl.lang.recipe import Allocate, Pin, TypeRequest
from qdsl.passes.keep_weights import KeepWeights
from qdsl.passes.kept_bytes import kept_bytes
from qdsl.plan import Decisions
from qdsl.plan.context import Context
from qdsl.spec.assigned import Assigned
from qdsl.spec.plan import WeightPlan
from qdsl.targets.onnx_size import weight_bytes
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import Prepared


@dataclass(frozen=True)
class Choice:
    """One choice of the recipe, as the words that `Assigned` takes, and the decisions with it on every node that it can
    be carried out on; `weights` are those it stores of each, none where it leaves a node in float."""

    words: str
    request: TypeRequest
    decisions: Decisions
    weights: Mapping[str, tuple[WeightPlan, ...]]
    refused: Mapping[str, str] = field(default_factory=dict)

    def bytes(self, nodes: Sequence[str]) -> int:
        """What these nodes' weights and biases add to the float model's file, or take from it, with what a lowering
        adds to keep them as they are."""
        plan, view = self.decisions.plan, self.decisions.context.view
        weights = [weight for node in nodes for weight in self.weights[node]]
        biases = [bias for bias in plan.biases if bias.node in nodes]
        return weight_bytes(view, weights, biases) + kept_bytes(view, plan, [k for k in self._kept if k[0] in nodes])

    @cached_property
    def _kept(self) -> tuple[tuple[str, ...], ...]:
        context = self.decisions.context
        trace = context.runtime.foresees(self.decisions.plan, context.view, context.capability)
        steps = (step for step in trace.steps if step.word == KeepWeights.name)
        return tuple(fired.nodes for step in steps for fired in step.outcome.fired)


def under(prepared: Prepared, target: str, given: Iterable[Assigned]) -> tuple[Prepared, Decisions]:
    """The recipe with these choices as rules, and the decisions for it. Raises what planning raises."""
    own = replace(prepared, recipe=with_assigned(prepared.recipe, given))
    return own, decide_one(own, target)


def without_improving(prepared: Prepared) -> Prepared:
    """For plans that are only looked at: one in which nothing computes in integers has nothing to correct, either."""
    return replace(prepared, recipe=replace(prepared.recipe, improve=None))


def open_nodes(context: Context) -> tuple[str, ...]:
    """The nodes with weights that no rule of the recipe speaks of, in graph order: rules are decisions."""
    return tuple(node.name for node in context.view.nodes if _is_open(context, node) and weight_ports(context, node))


def _is_open(context: Context, node: NodeView) -> bool:
    rules = context.cascade.node_rules[node.index]
    return node.index not in context.kept and not context.cascade.resolve("weights", rules).explicit


def weight_ports(context: Context, node: NodeView) -> tuple[int, ...]:
    """Where a node reads constant weights in float32 that could be stored as integers."""
    row, found = context.rows[node.index], context.capability.store_for(node, context.view)
    ports = (*(row.weight_ports(node, context.view) if row.computes else ()), *(found[1] if found else ()))
    return tuple(p for p in dict.fromkeys(ports) if context.is_float32(node.inputs[p]))


def choices(prepared: Prepared, decided: Decisions, nodes: Sequence[str]) -> tuple[Choice, ...]:
    """Every choice of the recipe's statement, then the types of its pins. A type that the target only stores gets
    `storage_only` by itself. Raises QdslError, at the place of the choice, for one that cannot be carried out."""
    spec = prepared.recipe.allocate
    assert spec is not None, "the step has seen to it"
    asked = {request_text(each): each for each in requests(spec)}
    return tuple(_choice(prepared, decided, nodes, request) for request in asked.values())


def requests(spec: Allocate) -> Iterator[TypeRequest]:
    """What the statement names: its types, then those of its pins."""
    yield from spec.choices
    yield from (pin.request for pin in spec.pins if not any(pins(pin, each) for each in spec.choices))


def pins(pin: Pin, choice: TypeRequest) -> bool:
    """Whether a pin means that choice: it says no more than the type or the width of it."""
    return (pin.request.dtype, pin.request.bits) == (choice.dtype, choice.bits)


def _choice(prepared: Prepared, decided: Decisions, nodes: Sequence[str], request: TypeRequest) -> Choice:
    words, errors = request_text(request), []
    bare = without_improving(prepared)
    stored = () if request.storage_only or not _integers(request) else (f"{words} {STORED}",)
    for each in (words, *stored):
        try:
            return _carried(bare, decided.plan.target, nodes, request, each)
        except QdslError as error:
            errors.append(error)
    raise QdslError([at_choice(prepared, diagnostic, request) for diagnostic in errors[0].diagnostics])


def _carried(prepared: Prepared, target: str, nodes: Sequence[str], request: TypeRequest, words: str) -> Choice:
    """The choice on every node but those that the target refuses it for by name. Raises the refusal where none is
    left, and whatever else is wrong."""
    left, refused = list(nodes), dict[str, str]()
    while True:
        try:
            _, made = under(prepared, target, [Assigned(node, words) for node in left])
        except QdslError as error:
            found = {node: each for each in error.diagnostics for node in left if f"`{node}`" in each.headline}
            left = [node for node in left if node not in found]
            refused |= {node: each.label or each.headline for node, each in found.items()}
            if not found or not left:
                raise
            continue
        weights = _weights(made, left) | dict.fromkeys(refused, ())
        return Choice(words, request, made, {node: weights[node] for node in nodes}, refused)


def _integers(request: TypeRequest) -> bool:
    return request.dtype is None or request.dtype.quantized


def at_choice(prepared: Prepared, found: Diagnostic, request: TypeRequest) -> Diagnostic:
    """What is wrong with a rule that `allocate` made is wrong with the choice."""
    spec = prepared.recipe.allocate
    return replace(found, span=request.span) if spec is not None and found.span == spec.header else found


def _weights(decided: Decisions, nodes: Sequence[str]) -> dict[str, tuple[WeightPlan, ...]]:
    ports = {node: weight_ports(decided.context, decided.context.view.node(node)) for node in nodes}
    found: dict[str, list[WeightPlan]] = {node: [] for node in nodes}
    for weight in decided.plan.weights:
        if weight.port in ports.get(weight.node, ()):
            found[weight.node].append(weight)
    return {node: tuple(weights) for node, weights in found.items()}
