"""How the targets of one recipe place Q/DQ, node by node, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.describe.behind import Behind, quantized_behind
from qdsl.graph.view import NodeView
from qdsl.plan.build import Decisions
from qdsl.spec.plan import NodePlan

FLOAT32 = "float32"


@dataclass(frozen=True, slots=True)
class Read:
    """What a node reads at a port that could hold a pair: the type of the pair, or FLOAT32. `skip`: it is the skip of a
    residual addition."""

    port: int
    type: str
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """What one target makes of one node. `runs` and `kernel` as predicted; `weights` ("int8 per_channel") and `bias`
    ("int32") as they are stored, "" for none; `reads` by port; `behind` is where what it writes is quantized. `because`
    says why it runs so, `row` names the row of the target's table, and `origin` the rule, with its line, that decided
    of the node."""

    runs: str
    kernel: str
    weights: str
    bias: str
    reads: tuple[Read, ...]
    behind: Behind
    because: str
    row: str
    origin: str

    @property
    def pairs(self) -> bool:
        """Whether it reads anything through a pair."""
        return any(read.type != FLOAT32 for read in self.reads)

    def does_as(self, other: Placed) -> bool:
        """Whether the other target does the same, whatever the reasons are."""
        return self._done == other._done

    @property
    def _done(self) -> tuple[object, ...]:
        return (self.runs, self.weights, self.bias, self.reads, self.behind)


@dataclass(frozen=True, slots=True)
class NodePlacement:
    """One node, and what each target makes of it, by target, in the order of the recipe."""

    node: str
    op: str
    placed: Mapping[str, Placed]

    @property
    def alike(self) -> bool:
        """Whether all targets do the same with it."""
        first, *others = self.placed.values()
        return all(first.does_as(other) for other in others)


@dataclass(frozen=True, slots=True)
class Placements:
    """All nodes, in graph order. `rows` are the reasons of the tables' rows that are named, by target and row."""

    recipe: str
    targets: tuple[str, ...]
    nodes: tuple[NodePlacement, ...]
    rows: Mapping[str, Mapping[str, str]]

    @property
    def different(self) -> tuple[NodePlacement, ...]:
        """The nodes with which targets do different things."""
        return tuple(node for node in self.nodes if not node.alike)


def placements(decided: Sequence[Decisions]) -> Placements:
    """What each of the plans makes of each node. The plans are of one model. Linear in its size."""
    found = {each.plan.target: _Target(each) for each in decided}
    nodes = []
    for node in decided[0].context.view.nodes:
        placed = {name: target.placed(node) for name, target in found.items()}
        bias = any(each.bias for each in placed.values())  # of those without a plan for it, it is a float
        whole = {n: replace(p, bias=p.bias or FLOAT32) if bias else p for n, p in placed.items()}
        nodes.append(NodePlacement(node.name, node.op, whole))
    rows = {name: target.reasons() for name, target in found.items()}
    return Placements(decided[0].plan.recipe, tuple(found), tuple(nodes), rows)


class _Target:
    """One plan, looked up by node."""

    def __init__(self, decisions: Decisions) -> None:
        plan = decisions.plan
        self._decisions = decisions
        self._nodes: dict[str, NodePlan] = {node.node: node for node in plan.nodes}
        self._tensors = {tensor.tensor: tensor for tensor in plan.tensors}
        self._biases = {bias.node for bias in plan.biases}
        self._weights: dict[str, str] = {}
        for weight in plan.weights:
            told = f"{weight.scheme.width} {weight.scheme.granularity.value}"
            self._weights.setdefault(weight.node, told)

    def placed(self, node: NodeView) -> Placed:
        plan = self._nodes[node.name]
        table = self._decisions.context.capability
        return Placed(
            runs=plan.prediction.runs,
            kernel=plan.prediction.kernel,
            weights=self._weights.get(node.name, ""),
            bias="int32" if node.name in self._biases else "",
            reads=tuple(self._reads(node)),
            behind=quantized_behind(self._decisions.context, self._tensors, node),
            because=plan.prediction.because or table.row_for(node, self._decisions.context.view).because,
            row=plan.prediction.row,
            origin=plan.origin.told(self._decisions.plan.recipe),
        )

    def reasons(self) -> dict[str, str]:
        """Why each row of the table that decided of a node is as it is, in the table's order."""
        used = {node.prediction.row for node in self._nodes.values()}
        return {row.name: row.because for row in self._decisions.context.capability.rows if row.name in used}

    def _reads(self, node: NodeView) -> Iterator[Read]:
        skip = self._decisions.context.skips.get(node.index)
        for port in self._decisions.context.data_ports(node):
            tensor = self._tensors.get(node.inputs[port])
            paired = tensor is not None and tensor.read_by(node.name, port)
            kind = tensor.scheme.width if paired and tensor is not None else FLOAT32
            yield Read(port, kind, skip == port)
