"""Fusions that the runtime does before it looks at Q/DQ: two operators become one, and their edges with them.

The table's `merge` rows name the operators; the checks here are their structural conditions. A merged graph keeps the
index of every node: the one that stays stands at its own place, the one that goes is left without inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from qdsl.capability import Capability, Merge
from qdsl.graph.view import GraphView, NodeView, TensorView, Use
from qdsl.plan.predict_edges import Edges, Written


@dataclass(frozen=True, slots=True)
class Merged:
    """`gone` runs inside the kernel of `host`; both are names."""

    host: str
    gone: str
    merge: Merge


def merge_nodes(view: GraphView, edges: Edges, capability: Capability) -> tuple[GraphView, list[Merged]]:
    """The graph after the table's merges; `edges` is changed along. The same graph when nothing merges."""
    rules = {rule.first: rule for rule in capability.merges}
    graph = _Graph(view, edges)
    found = []
    for node in view.nodes:
        rule = rules.get(node.op)
        second = _only_reader(view, edges, node) if rule and len(node.outputs) == 1 else None
        if rule and second and second.op in rule.seconds and CHECKS[rule.check](view, node, second):
            merge = _add_vector if rule.check == "adds_vector" else _take_over_input
            found.append(merge(graph, node, second, rule))
    return (graph.done(), found) if found else (view, found)


def _only_reader(view: GraphView, edges: Edges, node: NodeView) -> NodeView | None:
    use = edges.written[node.outputs[0]].only_float
    return None if use is None else view.nodes[use.node]


class _Graph:
    """A view being changed: nodes by index, tensors by name."""

    def __init__(self, view: GraphView, edges: Edges) -> None:
        self.view = view
        self.edges = edges
        self.nodes: dict[int, NodeView] = {}
        self.tensors: dict[str, TensorView] = {}

    def node(self, index: int) -> NodeView:
        return self.nodes.get(index, self.view.nodes[index])

    def drop(self, index: int) -> None:
        self.nodes[index] = replace(self.node(index), inputs=(), outputs=())

    def move_read(self, tensor: str, old: Use, new: Use) -> None:
        """`new` reads `tensor` instead of `old`, in the way that `old` did."""
        known = self.tensors.get(tensor, self.view.tensors[tensor])
        self.tensors[tensor] = replace(known, uses=tuple(sorted(_swap(known.uses, old, new), key=_place)))
        quant = self.edges.reads.pop(old, None)
        if quant is not None:
            self.edges.reads[new] = quant
        if tensor in self.edges.written:
            floats = self.edges.written[tensor].floats
            floats[:] = _swap(floats, old, new)

    def done(self) -> GraphView:
        nodes = tuple(self.nodes.get(node.index, node) for node in self.view.nodes)
        return replace(self.view, nodes=nodes, tensors={**self.view.tensors, **self.tensors})


def _swap(uses: list[Use] | tuple[Use, ...], old: Use, new: Use) -> list[Use]:
    return [new if use == old else use for use in uses]


def _place(use: Use) -> tuple[int, int]:
    return use.node, use.port


def _add_vector(graph: _Graph, first: NodeView, second: NodeView, rule: Merge) -> Merged:
    """The first becomes the merged operator and takes the second's constant as its last input."""
    between, output = first.outputs[0], second.outputs[0]
    port = 1 - second.inputs.index(between)
    vector = second.inputs[port]
    graph.move_read(vector, Use(second.index, port), Use(first.index, len(first.inputs)))
    graph.nodes[first.index] = replace(first, op=rule.op, inputs=(*first.inputs, vector), outputs=(output,))
    graph.tensors[output] = replace(graph.view.tensors[output], producer=first.index)
    graph.edges.written[between] = Written()
    graph.drop(second.index)
    return Merged(first.name, second.name, rule)


def _take_over_input(graph: _Graph, first: NodeView, second: NodeView, rule: Merge) -> Merged:
    """The second reads what the first read."""
    source, between = graph.node(first.index).inputs[0], first.outputs[0]
    port = second.inputs.index(between)
    graph.move_read(source, Use(first.index, 0), Use(second.index, port))
    kept = graph.node(second.index)
    inputs = tuple(source if name == between else name for name in kept.inputs)
    graph.nodes[second.index] = replace(kept, inputs=inputs)
    graph.edges.written[between] = Written()
    graph.drop(first.index)
    return Merged(second.name, first.name, rule)


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


CHECKS: Mapping[str, Callable[[GraphView, NodeView, NodeView], bool]] = {
    "adds_vector": _adds_vector,
    "pads_zeros": _pads_zeros,
}
