"""Which nodes become float16, which constants are only stored so, and why others stay float32; and which pairs have
float16 scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qdsl.capability.float16 import KEPT, Float16Row, float16_for
from qdsl.graph.float16_ports import Ports, float16_ports
from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.spec import Scheme
from qdsl.spec.plan import Float16Node, Float16Weight, Origin, Reader, TensorPlan, WeightPlan

LARGEST, SMALLEST = 65504.0, 2.0**-24
# A constant of fewer elements saves less than the Cast before it takes.
LEAST_ELEMENTS = 128


@dataclass(frozen=True)
class Float16Parts:
    """`nodes` by index; `weights` in graph order; `refused`: why a node that was asked for stays float32; `left`: nodes
    that only move values between float32 neighbours, where float16 would cost Casts."""

    nodes: Mapping[int, Float16Node] = field(default_factory=dict)
    weights: tuple[Float16Weight, ...] = ()
    refused: Mapping[int, tuple[str, Origin]] = field(default_factory=dict)
    left: Mapping[int, Origin] = field(default_factory=dict)


def decide(context: Context, draft: Draft) -> Float16Parts:
    """What float16 the recipe asks for comes to. Looks at values of small constants only."""
    asked = _asked(context)
    if not asked and not any(_stored_float16(context, node.index) for node in context.view.nodes):
        return Float16Parts()
    maker = _Maker(context, draft, asked)
    return maker.run()


def _asked(context: Context) -> dict[int, Origin]:
    """Nodes that the recipe wants in float16: by `keep`, by their activations, or with all that names no other type."""
    found: dict[int, Origin] = {}
    for node in context.view.nodes:
        spoken = context.cascade.kept(node.index)
        kept = context.cascade.kept_in(node.index)
        if spoken is not None and kept is not None:
            if kept.name == "float16":
                found[node.index] = spoken.origin
            continue
        if node.index in context.kept or (context.half is None and context.schemes.floats is None):
            continue
        outputs = [name for name in node.outputs if name and context.quantizable(name)]
        chosen = context.activation(outputs[0], (node.index,)) if outputs else None
        if chosen is not None and chosen.float16:
            found[node.index] = chosen.origin
        elif context.half is not None and (chosen is None or chosen.scheme is not None or chosen.span is None):
            found[node.index] = context.half
    return found


def _stored_float16(context: Context, node: int) -> bool:
    return context.schemes.floats is not None and node not in context.kept and context.weight(node).float16


class _Maker:
    def __init__(self, context: Context, draft: Draft, asked: Mapping[int, Origin]) -> None:
        self._context = context
        self._view = context.view
        self._draft = draft
        self._asked = asked
        self._ports: dict[int, Ports] = {}
        self._refused: dict[int, tuple[str, Origin]] = {}
        self._integer = {weight.node for weight in draft.weights}

    def run(self) -> Float16Parts:
        for index, origin in self._asked.items():
            reason = self._obstacle(self._view.nodes[index])
            if reason:
                self._refused[index] = reason, origin
        left = self._idle()
        for index in left:
            del self._ports[index]
        nodes = {
            index: Float16Node(self._view.nodes[index].name, *self._pair(index), self._asked[index])
            for index in sorted(self._ports)
        }
        nodes.update(self._as_it_comes(nodes))
        nodes.update(self._as_it_is_read(nodes))
        return Float16Parts(dict(sorted(nodes.items())), self._weights(nodes), self._refused, left)

    def _pair(self, index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self._ports[index].reads, self._ports[index].writes

    def _row(self, index: int) -> Float16Row | None:
        return float16_for(self._context.capability.halves, self._view.nodes[index])

    def _obstacle(self, node: NodeView) -> str:
        """Why the node stays float32; "" where it can be float16, whose ports are then noted, or has no floats."""
        row, ports = self._row(node.index), float16_ports(node, self._view.opset)
        if row is None or row.runs == KEPT:
            return row.because if row else f"{self._context.capability.title} knows no float16"
        if node.op == "Cast":
            return ""  # it follows its neighbours
        if ports is None or not ports.writes:
            return f"ONNX has no float16 for {node.op} at opset {self._view.opset}" if ports is None else ""
        held = [node.inputs[port] for port in ports.reads] + [node.outputs[port] for port in ports.writes]
        if not all(self._context.is_float32(name) for name in held):
            return "" if not any(self._context.is_float32(name) for name in held) else "its types are not known"
        if any(use.port < 0 for port in ports.writes for use in self._view.tensors[node.outputs[port]].uses):
            return "the body of an If, Loop or Scan reads what it writes by name"
        reason = self._weights_differ(node) or self._out_of_range(node, ports)
        if not reason:
            self._ports[node.index] = ports
        return reason

    def _weights_differ(self, node: NodeView) -> str:
        if node.name in self._integer and not self._context.capability.half_scales:
            return "its weights are stored as integers, which float32 activations go with"
        if self._context.rows[node.index].weights and node.index not in self._context.kept:
            chosen = self._context.weight(node.index)
            if chosen.scheme is None and not chosen.float16 and chosen.span is not None:
                return "its weights are float32 by request"
        return ""

    def _out_of_range(self, node: NodeView, ports: Ports) -> str:
        """A small constant that float16 cannot hold, or turns into 0."""
        for port in ports.reads:
            for value in self._view.small.get(node.inputs[port], ()):
                size = abs(float(value))
                if LARGEST < size < float("inf"):
                    return f"it reads {value:g}, past float16's {LARGEST:g}"
                if 0.0 < size < SMALLEST:
                    return f"it reads {value:g}, which is 0 in float16"
        return ""

    def _idle(self) -> dict[int, Origin]:
        """Connected nodes that only move values, with float32 on every side: asked for by the mode alone."""
        free = {i for i in self._ports if (row := self._row(i)) is not None and row.copies and not self._by_rule(i)}
        found: dict[int, Origin] = {}
        seen: set[int] = set()
        for start in sorted(free):
            if start in seen:
                continue
            group, beside = self._group(start, free)
            seen |= group
            if not beside:
                found.update((index, self._asked[index]) for index in group)
        return found

    def _group(self, start: int, free: set[int]) -> tuple[set[int], bool]:
        """`start` and what moves values beside it, and whether a float16 node stands next to any of them."""
        group, stack, beside = {start}, [start], False
        while stack:
            node = self._view.nodes[stack.pop()]
            for other in self._neighbours(node):
                if other in free and other not in group:
                    group.add(other)
                    stack.append(other)
                beside = beside or (other in self._ports and other not in free)
        return group, beside

    def _neighbours(self, node: NodeView) -> list[int]:
        ports = self._ports[node.index]
        before = [self._view.tensors[node.inputs[port]].producer for port in ports.reads]
        after = [use.node for port in ports.writes for use in self._view.tensors[node.outputs[port]].uses]
        return [index for index in (*before, *after) if index is not None and index >= 0]

    def _by_rule(self, index: int) -> bool:
        by_all = self._asked[index] == self._context.half or self._asked[index].rule.startswith("quantize")
        return index in self._context.kept or not by_all

    def _as_it_comes(self, nodes: Mapping[int, Float16Node]) -> dict[int, Float16Node]:
        """Nodes that write no floats and read one float16 tensor, and Casts of one: no Cast of ours before them."""
        found = {}
        for node in self._view.nodes:
            if node.index in nodes or self._row(node.index) is None or node.op in ("If", "Loop", "Scan"):
                continue
            ports = float16_ports(node, self._view.opset)
            if node.op == "Cast":
                ports = Ports((0,), ())
            if (
                ports is None
                or len(ports.reads) != 1
                or any(self._context.is_float32(node.outputs[p]) for p in ports.writes)
            ):
                continue
            if self._reads_float16(node, ports.reads[0], nodes):
                found[node.index] = Float16Node(node.name, ports.reads, (), nodes[self._producer(node, ports)].origin)
        return found

    def _as_it_is_read(self, nodes: Mapping[int, Float16Node]) -> dict[int, Float16Node]:
        """Casts to float32 that float16 nodes alone read: they cast to float16 instead."""
        found = {}
        for node in self._view.nodes:
            if node.op != "Cast" or not self._context.is_float32(node.outputs[0]):
                continue
            tensor = self._view.tensors[node.outputs[0]]
            readers = [nodes.get(use.node) for use in tensor.uses]
            reads = [
                half is not None and use.port in half.reads for half, use in zip(readers, tensor.uses, strict=True)
            ]
            if reads and all(reads) and not tensor.is_output and tensor.name not in self._draft.tensors:
                known = nodes.get(node.index)
                first = next(half for half in readers if half is not None)
                found[node.index] = Float16Node(node.name, known.reads if known else (), (0,), first.origin)
        return found

    def _producer(self, node: NodeView, ports: Ports) -> int:
        found = self._view.tensors[node.inputs[ports.reads[0]]].producer
        assert found is not None
        return found

    def _reads_float16(self, node: NodeView, port: int, nodes: Mapping[int, Float16Node]) -> bool:
        """Whether a float16 node writes what stands at `port`, with no Q/DQ pair between."""
        name = node.inputs[port]
        found = self._view.tensors[name].producer
        if found is None or found not in nodes:
            return False
        written = [self._view.nodes[found].outputs[out] for out in nodes[found].writes]
        pair = self._draft.tensors.get(name)
        return name in written and (pair is None or not pair.read_by(node.name, port))

    def _weights(self, nodes: Mapping[int, Float16Node]) -> tuple[Float16Weight, ...]:
        """Constants of float32 nodes that are stored as float16."""
        found = []
        for node in self._view.nodes:
            if node.index in nodes or not _stored_float16(self._context, node.index) or node.name in self._integer:
                continue
            for port, name in enumerate(node.inputs):
                tensor = self._view.tensors.get(name)
                large = tensor is not None and (tensor.elements or 0) >= LEAST_ELEMENTS
                if large and self._view.is_constant(name) and self._context.is_float32(name):
                    found.append(Float16Weight(node.name, port, name, self._context.weight(node.index).origin))
        return tuple(found)


def check(context: Context, halves: Float16Parts) -> None:
    """Report `keep X in float16` where X holds nodes that cannot be: the rule names them, so it must hold for all."""
    told: dict[Origin, list[int]] = {}
    for index, (_, origin) in halves.refused.items():
        if index in context.kept:
            told.setdefault(origin, []).append(index)
    for origin, nodes in told.items():
        spoken = context.cascade.kept(nodes[0])
        names = ", ".join(f"`{context.view.nodes[index].name}`" for index in nodes[:3])
        more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
        context.diags.error(
            "target-cannot",
            f"{names}{more} cannot be kept in float16",
            spoken.rule.span if spoken else None,
            label=halves.refused[nodes[0]][0],
            help=["write `in float32`", f"exclude them: `{origin.rule} and not op {context.view.nodes[nodes[0]].op}`"],
        )


def with_float16_scales(context: Context, draft: Draft, halves: Float16Parts) -> Draft:
    """`draft` with the schemes of pairs that a float16 node writes into or reads through: all of a group at once, and
    all that read the same stored weight."""
    if not context.capability.half_scales or not halves.nodes:
        return draft
    written, read = _written(context, halves.nodes), _read(halves.nodes)
    groups = {plan.group for plan in draft.tensors.values() if _beside(plan, written, read)}
    stored = {_stored(weight) for weight in draft.weights if Reader(weight.node, weight.port) in read}
    return replace(
        draft,
        tensors={
            name: replace(plan, scheme=_half(plan.scheme)) if plan.group in groups else plan
            for name, plan in draft.tensors.items()
        },
        weights=tuple(
            replace(weight, scheme=_half(weight.scheme)) if _stored(weight) in stored else weight
            for weight in draft.weights
        ),
    )


def _half(scheme: Scheme) -> Scheme:
    return replace(scheme, float16_scales=True)


def _written(context: Context, nodes: Mapping[int, Float16Node]) -> frozenset[str]:
    """The tensors that are float16."""
    return frozenset(context.view.nodes[index].outputs[port] for index, half in nodes.items() for port in half.writes)


def _read(nodes: Mapping[int, Float16Node]) -> frozenset[Reader]:
    """The ports that read float16."""
    return frozenset(Reader(half.node, port) for half in nodes.values() for port in half.reads)


def _beside(plan: TensorPlan, written: frozenset[str], read: frozenset[Reader]) -> bool:
    return plan.tensor in written or any(reader in read for reader in plan.readers)


def _stored(weight: WeightPlan) -> tuple[object, ...]:
    return weight.tensor, weight.scheme, weight.axis, weight.guard
