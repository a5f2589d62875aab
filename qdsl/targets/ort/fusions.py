"""What the runtime makes of a graph before it looks at Q/DQ: equal nodes run once, and some pairs run as one operator.

The table's `merge` rows name the pairs; the checks here are their structural conditions. A merged graph keeps the index
of every node: the one that stays stands at its own place, the one that goes is left without inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from qdsl.capability import Capability, Merge
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.edges import Edges, Written


@dataclass(frozen=True, slots=True)
class Merged:
    """`gone` runs inside the kernel of `host`, or equals it (`equal`) and so never runs; both are names. `past`: the
    two merge once pairs are spread, so that one may stand between them until then."""

    host: str
    gone: str
    because: str
    equal: bool = False
    past: bool = False


def merge_nodes(view: GraphView, edges: Edges, capability: Capability) -> tuple[GraphView, list[Merged]]:
    """The graph after equal nodes and then the table's pairs are merged; `edges` is changed along. The same graph when
    nothing merges. Linear in the size of the graph."""
    view, equal = _merge_equal(view, edges) if capability.merges_equal else (view, [])
    view, pairs = _merge_pairs(view, edges, capability)
    return view, equal + pairs


def _merge_pairs(view: GraphView, edges: Edges, capability: Capability) -> tuple[GraphView, list[Merged]]:
    rules = {rule.first: rule for rule in capability.merges}
    graph = _Graph(view, edges)
    found = []
    for index in range(len(view.nodes)):
        while (pair := _pair(graph, rules, index)) is not None:
            found += INTO[pair[2].stays](graph, *pair)
    return (graph.done(), found) if found else (view, found)


def _pair(graph: _Graph, rules: Mapping[str, Merge], index: int) -> tuple[NodeView, NodeView, Merge] | None:
    """A node, one that reads its result, alone where only one of the two stays, and the rule by which they merge."""
    first = graph.known(index)
    rule = rules.get(first.op)
    if rule is None or len(first.outputs) != 1:
        return None
    written = graph.edges.written[first.outputs[0]]
    uses = [written.only_float] if rule.stays != "both" else list(written.floats)
    for use in uses:
        if use is None or graph.known(use.node).op not in rule.seconds:
            continue
        first, second = graph.node(index), graph.node(use.node)
        if CHECKS[rule.check](graph.view, first, second):
            return first, second, rule
    return None


class _Graph:
    """A view being changed: nodes by index, readers and producers of tensors by name. Linear: a tensor that stands for
    another is only noted, and put in where a node is looked at."""

    def __init__(self, view: GraphView, edges: Edges) -> None:
        self.view = view
        self.edges = edges
        self.nodes: dict[int, NodeView] = {}
        self.alias: dict[str, str] = {}
        self.uses: dict[str, dict[Use, None]] = {}
        self.producers: dict[str, int] = {}

    def known(self, index: int) -> NodeView:
        """The node, its inputs under the names they had."""
        return self.nodes.get(index, self.view.nodes[index])

    def node(self, index: int) -> NodeView:
        node = self.known(index)
        if not any(name in self.alias for name in node.inputs):
            return node
        return replace(node, inputs=tuple(self.alias.get(name, name) for name in node.inputs))

    def readers(self, tensor: str) -> dict[Use, None]:
        if tensor not in self.uses:
            self.uses[tensor] = dict.fromkeys(self.view.tensors[tensor].uses)
        return self.uses[tensor]

    def drop(self, index: int) -> None:
        self.nodes[index] = replace(self.known(index), inputs=(), outputs=())

    def leave(self, index: int) -> None:
        """The node goes, and with it its reads."""
        for port, name in enumerate(self.node(index).inputs):
            if name:
                self.move_read(name, Use(index, port), None)
        self.drop(index)

    def move_read(self, tensor: str, old: Use, new: Use | None) -> None:
        """`new` reads `tensor` instead of `old`, in the way that `old` did; None: nobody does."""
        readers = self.readers(tensor)
        del readers[old]
        quant = self.edges.reads.pop(old, None)
        if tensor in self.edges.written:
            self.edges.written[tensor].swap(old, new, quant)
        if new is not None:
            readers[new] = None
            if quant is not None:
                self.edges.reads[new] = quant

    def also_read(self, tensor: str, like: Use, new: Use) -> None:
        """`new` reads `tensor`, too, in the way that `like` does."""
        self.readers(tensor)[new] = None
        quant = self.edges.reads.get(like)
        if quant is not None:
            self.edges.reads[new] = quant
        if tensor in self.edges.written:
            written = self.edges.written[tensor]
            (written.floats if quant is None else written.quants[quant])[new] = None

    def join(self, gone: str, kept: str) -> None:
        """What read `gone` reads `kept`, in the way that it did."""
        out, into = self.edges.written[gone], self.edges.written[kept]
        self.readers(kept).update(self.readers(gone))
        self.readers(gone).clear()
        into.floats.update(out.floats)
        for quant, readers in out.quants.items():
            into.add(quant, readers)
        self.edges.written[gone] = Written()
        self.alias[gone] = kept

    def done(self) -> GraphView:
        nodes = tuple(self.node(node.index) for node in self.view.nodes)
        tensors = dict(self.view.tensors)
        for name, uses in self.uses.items():
            tensors[name] = replace(tensors[name], uses=tuple(sorted(uses, key=lambda use: (use.node, use.port))))
        for name, producer in self.producers.items():
            tensors[name] = replace(tensors[name], producer=producer)
        return replace(self.view, nodes=nodes, tensors=tensors)


def _merge_equal(view: GraphView, edges: Edges) -> tuple[GraphView, list[Merged]]:
    """Nodes that do the same to the same float values run once; one that writes a graph output stays."""
    graph = _Graph(view, edges)
    known: dict[tuple[object, ...], int] = {}
    found = []
    for index in range(len(view.nodes)):
        node = graph.node(index)
        if not node.outputs or not _mergeable(graph, node):
            continue
        first = known.setdefault(_identity(graph, node), index)
        writes_output = any(edges.written[name].graph_output for name in node.outputs if name)
        if first == index or writes_output:
            continue
        kept = graph.node(first)
        for gone, stays in zip(node.outputs, kept.outputs, strict=True):
            graph.join(gone, stays)
        graph.leave(index)
        found.append(Merged(kept.name, node.name, f"equal to {kept.name}, which runs once for both", equal=True))
    return (graph.done(), found) if found else (view, found)


def _identity(graph: _Graph, node: NodeView) -> tuple[object, ...]:
    """All that decides what a node computes; constants of few elements count by value."""
    small = graph.view.small
    inputs = tuple(small.get(name) or name for name in node.inputs)
    kinds = tuple(graph.view.tensors[name].dtype if name in small else None for name in node.inputs)
    attrs = tuple(sorted(node.attrs.items()))
    return node.op, node.domain, inputs, kinds, attrs, len(node.outputs)


def _mergeable(graph: _Graph, node: NodeView) -> bool:
    """A DequantizeLinear belongs to one reader, so two that read through them never read the same."""
    reads_integers = any(Use(node.index, port) in graph.edges.reads for port in range(len(node.inputs)))
    return not reads_integers and all(value is not None for value in node.attrs.values())


def _into_first(graph: _Graph, first: NodeView, second: NodeView, rule: Merge) -> list[Merged]:
    """The first writes what the second wrote, and reads its other inputs after its own."""
    between, output = first.outputs[0], second.outputs[0]
    others = [(port, name) for port, name in enumerate(second.inputs) if name not in ("", between)]
    inputs = first.inputs
    for port, name in others:
        graph.move_read(name, Use(second.index, port), Use(first.index, len(inputs)))
        inputs = (*inputs, name)
    graph.nodes[first.index] = replace(first, op=rule.op or first.op, inputs=inputs, outputs=(output,))
    graph.producers[output] = first.index
    graph.edges.written[between] = Written()
    graph.drop(second.index)
    return [Merged(first.name, second.name, rule.because)]


def _into_second(graph: _Graph, first: NodeView, second: NodeView, rule: Merge) -> list[Merged]:
    """The second reads what the first read."""
    source, between = first.inputs[0], first.outputs[0]
    graph.move_read(source, Use(first.index, 0), Use(second.index, second.inputs.index(between)))
    inputs = tuple(source if name == between else name for name in second.inputs)
    graph.nodes[second.index] = replace(second, op=rule.op or second.op, inputs=inputs)
    graph.edges.written[between] = Written()
    graph.drop(first.index)
    return [Merged(second.name, first.name, rule.because)]


def _past_first(graph: _Graph, first: NodeView, second: NodeView, rule: Merge) -> list[Merged]:
    """The second reads what the first read, in the way that it did; the first goes once nobody else reads it."""
    source, between = first.inputs[0], first.outputs[0]
    written = graph.edges.written[between]
    if written.only_float is not None:
        return [replace(pair, past=True) for pair in _into_second(graph, first, second, rule)]
    graph.move_read(between, Use(second.index, 0), None)
    graph.also_read(source, Use(first.index, 0), Use(second.index, 0))
    graph.nodes[second.index] = replace(second, inputs=(source, *second.inputs[1:]))
    return []


def _adds_vector(view: GraphView, first: NodeView, second: NodeView) -> bool:
    """A product of two matrices, and a constant that is broadcast over its rows."""
    if len(set(second.inputs)) != 2:
        return False
    other = view.tensors[second.inputs[1 - second.inputs.index(first.outputs[0])]].shape
    shapes = [view.tensors[name].shape for name in (*first.inputs, first.outputs[0])]
    if not other or any(shape is None or len(shape) != 2 for shape in shapes):
        return False
    out = shapes[-1] or ()
    return other in (out[-1:], (1, *out[-1:]), out)


def _pads_zeros(view: GraphView, first: NodeView, second: NodeView) -> bool:
    """Zeros around the image only, in front of an operator that pads by itself."""
    if first.attrs.get("mode", "constant") != "constant" or len(first.inputs) > 3 or len(second.outputs) > 1:
        return False
    if second.attrs.get("auto_pad", "NOTSET") != "NOTSET" or second.inputs[0] != first.outputs[0]:
        return False
    pads = view.small.get(first.inputs[1]) if len(first.inputs) > 1 else None
    value = view.small.get(first.inputs[2]) if len(first.inputs) > 2 and first.inputs[2] else (0,)
    if not pads or value is None or any(value):
        return False
    half = len(pads) // 2
    return not any((*pads[:2], *pads[half : half + 2])) and min(pads) >= 0


def _plain(view: GraphView, first: NodeView, second: NodeView) -> bool:
    """The second works on what the first writes, and every size is known."""
    shape = view.tensors[second.outputs[0]].shape
    return second.inputs[0] == first.outputs[0] and shape is not None and all(isinstance(dim, int) for dim in shape)


def _turns(view: GraphView, first: NodeView, second: NodeView) -> bool:
    """Two Transposes that do not undo each other: those the runtime takes out, and what it then moves is not known."""
    before, behind = _axes(view, first), _axes(view, second)
    return len(before) == len(behind) > 0 and tuple(before[axis] for axis in behind) != tuple(range(len(before)))


def _axes(view: GraphView, transpose: NodeView) -> tuple[int, ...]:
    """The order of its axes; none where it is not known."""
    perm = transpose.attrs.get("perm")
    if isinstance(perm, tuple):
        return tuple(int(axis) for axis in perm)
    shape = view.tensors[transpose.inputs[0]].shape
    return () if shape is None else tuple(reversed(range(len(shape))))


INTO: Mapping[str, Callable[[_Graph, NodeView, NodeView, Merge], list[Merged]]] = {
    "first": _into_first,
    "second": _into_second,
    "both": _past_first,
}
CHECKS: Mapping[str, Callable[[GraphView, NodeView, NodeView], bool]] = {
    "adds_vector": _adds_vector,
    "pads_zeros": _pads_zeros,
    "plain": _plain,
    "turns": _turns,
}
