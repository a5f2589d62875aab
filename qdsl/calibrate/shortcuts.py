"""Which tensors must be reduced over, and which ranges and NaN checks follow from others without touching the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qdsl.graph.moves import SAME_VALUES
from qdsl.graph.view import GraphView, NodeView

FLOATS = ("float32", "float64", "float16", "bfloat16")
# Never decreasing, one input: the range of the output is the function of the input's range.
MONOTONE = frozenset({"Sigmoid", "Tanh"})
# A NaN anywhere in one of these ports is a NaN somewhere in the output (tests run every one in ONNX Runtime). Max, Min,
# MaxPool, Clip, comparisons and whatever picks elements are absent: they can lose it.
_ANY_PORT = frozenset({"Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Concat", "Sum"})
_FIRST_PORT = SAME_VALUES | {
    "BatchNormalization", "Exp", "GlobalAveragePool", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Neg",
    "Relu", "Sigmoid", "Softmax", "Split", "Sqrt", "Tanh",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """`parts`: for each wanted tensor, the tensors whose ranges together are its range. `reduced`: tensors that a
    pass over the data measures. `mapped`: tensor -> (operator, tensor whose range it maps). `summed`: tensors in
    which a NaN might escape both the range (reductions may drop it) and the model's outputs, so that a sum looks for
    it."""

    parts: dict[str, tuple[str, ...]]
    reduced: tuple[str, ...]
    mapped: dict[str, tuple[str, str]]
    summed: tuple[str, ...]


def shortcuts(view: GraphView, wanted: Sequence[str]) -> Shortcuts:
    """Decide for every wanted tensor (names in `view`) how its range is found. Linear in the graph."""
    roots = _roots(view)
    needed = {roots[t] for t in wanted}
    parts: dict[str, tuple[str, ...]] = {}
    mapped: dict[str, tuple[str, str]] = {}
    order = list(view.inputs) + [o for node in view.nodes for o in node.outputs if o]
    for tensor in (t for t in order if t in needed):
        node = view.producer(tensor)
        split = _split_parts(view, tensor, roots, needed)
        if node is not None and node.op == "Concat" and all(roots.get(i) in needed for i in node.inputs):
            parts[tensor] = tuple(dict.fromkeys(p for i in node.inputs for p in parts[roots[i]]))
            continue
        if split:
            parts[tensor] = split
            continue
        parts[tensor] = (tensor,)
        source = roots.get(node.inputs[0], "") if node is not None and node.op in MONOTONE else ""
        if node is not None and source not in view.inputs and parts.get(source) == (source,) and source not in mapped:
            mapped[tensor] = (node.op, source)
    measured = dict.fromkeys(p for found in parts.values() for p in found)
    reduced = tuple(t for t in order if t in measured and t not in mapped and t not in view.inputs)
    return Shortcuts({t: parts[roots[t]] for t in wanted}, reduced, mapped, _to_sum(view, reduced))


def _roots(view: GraphView) -> dict[str, str]:
    """For every tensor the first one up the chain of movers, which holds the same values."""
    roots = {name: name for name in view.inputs}
    for node in view.nodes:
        for output in node.outputs:
            moved = node.op in SAME_VALUES and not node.domain and not view.is_constant(node.inputs[0])
            roots[output] = roots.get(node.inputs[0], output) if moved else output
    return roots


def _split_parts(view: GraphView, tensor: str, roots: dict[str, str], needed: set[str]) -> tuple[str, ...]:
    """The outputs of a Split of `tensor` when all of them are needed anyway, else nothing."""
    for node in view.consumers(tensor):
        if node.op == "Split" and node.inputs[0] == tensor and all(o in needed and roots[o] == o for o in node.outputs):
            return node.outputs
    return ()


def _to_sum(view: GraphView, reduced: Sequence[str]) -> tuple[str, ...]:
    """The tensors of `reduced` in which a NaN is not certain to show up in a sum further down: those get one
    themselves. From the end of the graph to its start, so that one sum serves everything above it."""
    safe = {name for name in view.outputs if view.tensors[name].dtype in FLOATS}
    left, summed = set(reduced), []
    for node in reversed(view.nodes):
        for output in node.outputs:
            if output in left and output not in safe:
                summed.append(output)
                safe.add(output)
        safe.update(_passing(view, node, safe))
    return tuple(reversed(summed))


def _passing(view: GraphView, node: NodeView, safe: set[str]) -> tuple[str, ...]:
    """The inputs of a node whose NaN certainly reaches a tensor in `safe`."""
    if node.domain or not all(o in safe for o in node.outputs if o):
        return ()
    if node.op in _ANY_PORT:
        return node.inputs
    if node.op in _FIRST_PORT or (node.op == "Conv" and _reads_all(view, node)):
        return node.inputs[:1]
    return ()


def _reads_all(view: GraphView, node: NodeView) -> bool:
    """Whether a Conv reads every element: strides of 1, or windows that meet and reach the far edge."""
    strides = _ints(node, "strides")
    if all(s == 1 for s in strides):
        return True
    seen, made = (view.tensors[t].shape or () for t in (node.inputs[0], node.outputs[0]))
    kernel, pads = _ints(node, "kernel_shape"), _ints(node, "pads")
    rank = len(strides)
    sizes = [d for d in (*seen[2:], *made[2:]) if isinstance(d, int)]
    if any(d != 1 for d in _ints(node, "dilations")) or len(kernel) != rank or len(pads) != 2 * rank:
        return False
    if len(sizes) != 2 * rank:
        return False
    windows = zip(sizes[:rank], sizes[rank:], kernel, strides, pads, strict=False)
    return all(s <= k and (steps - 1) * s + k >= size + pad for size, steps, k, s, pad in windows)


def _ints(node: NodeView, name: str) -> tuple[int, ...]:
    found = node.attrs.get(name)
    return tuple(v for v in found if isinstance(v, int)) if isinstance(found, tuple) else ()
