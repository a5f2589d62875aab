"""What sensitivity is asked of: groups of nodes, each with the ways in which it may be quantized."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.graph.view import GraphView, NodeView
from qdsl.spec import Scheme
from qdsl.spec.plan import BiasPlan, Plan, TensorPlan, WeightPlan
from qdsl.spec.sensitivity import FLOAT


@dataclass(frozen=True, slots=True)
class Choice:
    """One way of quantizing a unit, called by `name` ("int4", "float32"): the pairs that its nodes read through, each
    with the readers that are the unit's alone, its weights and its biases. Without any of them nothing is quantized."""

    name: str
    tensors: tuple[TensorPlan, ...] = ()
    weights: tuple[WeightPlan, ...] = ()
    biases: tuple[BiasPlan, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether it leaves the unit in float."""
        return not (self.tensors or self.weights or self.biases)


@dataclass(frozen=True, slots=True)
class Unit:
    """Nodes that are quantized together, in graph order, called by the first of them. No node is in two units. The
    first choice is the one that the others are put back against.

    Where `tensors` are named, the unit is these, called by the first of them, and `nodes` are all that read them
    through a pair: then a node may be in several units, and no unit can be put back in float by itself."""

    nodes: tuple[str, ...]
    choices: tuple[Choice, ...]
    tensors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.members[0]

    @property
    def members(self) -> tuple[str, ...]:
        """What is quantized together: nodes, or tensors."""
        return self.tensors or self.nodes


def units_of(plan: Plan, view: GraphView) -> tuple[Unit, ...]:
    """The layers of a plan, in graph order, each quantized as planned or left in float. A layer is a node that reads a
    weight which the plan stores as integers, with the nodes behind it that read nothing but what it writes (an
    activation function); every other node that reads a planned pair is one of its own. It owns what it reads: weights,
    biases, the pairs before it, and that on a graph output which it writes."""
    owners = _owners(plan, view)
    grouped: dict[str, list[str]] = {}
    for node in view.nodes:
        grouped.setdefault(owners[node.name], []).append(node.name)
    made = (Unit(tuple(nodes), (planned(plan, frozenset(nodes), view), Choice(FLOAT))) for nodes in grouped.values())
    return tuple(unit for unit in made if not unit.choices[0].nothing)


def planned(plan: Plan, nodes: Collection[str], view: GraphView) -> Choice:
    """What the plan quantizes of these nodes: the pairs that they read, their weights and biases, and the pair on a
    graph output that one of them writes."""
    weights = tuple(each for each in plan.weights if each.node in nodes)
    biases = tuple(replace(each, corrected_on=None) for each in plan.biases if each.node in nodes)
    return Choice("planned", tuple(_read(plan.tensors, nodes, view)), weights, biases)


def with_weights(units: Iterable[Unit], choices: Mapping[str, Callable[[WeightPlan], WeightPlan]]) -> tuple[Unit, ...]:
    """The units that have weights, quantized in nothing else, in several ways: by name what each makes of the plan of a
    weight."""
    found = []
    for unit in units:
        weights = unit.choices[0].weights
        ways = (Choice(name, weights=tuple(map(way, weights))) for name, way in choices.items())
        found += [Unit(unit.nodes, tuple(ways))] if weights else []
    return tuple(found)


def stored_as(make: Callable[[Scheme], Scheme]) -> Callable[[WeightPlan], WeightPlan]:
    """The plan of a weight in another scheme: what `make` makes of its own."""
    return lambda weight: replace(weight, scheme=make(weight.scheme))


def _owners(plan: Plan, view: GraphView) -> dict[str, str]:
    """By node the first node of its group."""
    weighted = {weight.node for weight in plan.weights}
    bodies = {node.name for node in view.nodes if node.bodies}
    owners: dict[str, str] = {}
    for node in view.nodes:
        before = _before(node, view) if node.name not in weighted | bodies else None
        follows = {owners[name] for name in before} if before else set()
        joined = next(iter(follows)) if len(follows) == 1 else None
        owners[node.name] = joined if joined is not None and joined in weighted else node.name
    return owners


def _before(node: NodeView, view: GraphView) -> list[str] | None:
    """The nodes that write what it reads, constants aside; None where it reads a graph input."""
    read = [name for name in node.inputs if name and not view.is_constant(name)]
    writers = [view.producer(name) for name in read]
    return None if any(each is None for each in writers) else [each.name for each in writers if each is not None]


def _read(tensors: Sequence[TensorPlan], nodes: Collection[str], view: GraphView) -> Iterable[TensorPlan]:
    for tensor in tensors:
        writer = view.producer(tensor.tensor)
        here = {"", *nodes} if writer is not None and writer.name in nodes else nodes
        readers = tuple(reader for reader in tensor.readers if reader.node in here)
        if readers:
            yield replace(tensor, readers=readers)
