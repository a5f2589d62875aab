"""Topological order without recursion: stable (an ordered list stays as it is), linear in nodes and edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_graphsurgeon as gs

from qdsl.diag import QdslError, Span
from qdsl.graph.meta import meta_of
from qdsl.graph.problems import problem, shown

_WAITING, _OPEN, _DONE = 0, 1, 2


def sorted_nodes(
    nodes: Sequence[gs.Node], tensor_named: Callable[[str], gs.Tensor | None], span: Span | None = None
) -> list[gs.Node]:
    """`nodes` with every producer before its readers; a node moves only when its producer stands after it, and then the
    producer comes just before its first reader. Tensors read inside bodies count. Raises `model-cycle`, at `span`."""
    place = {id(node): i for i, node in enumerate(nodes)}
    if all(ordered(node, i, place, tensor_named) for i, node in enumerate(nodes)):
        return list(nodes)
    state = [_WAITING] * len(nodes)
    # Iterators: a producer looked at once is not looked at again, which keeps wide nodes linear.
    needs = [iter(_producers(node, place, tensor_named)) for node in nodes]
    order: list[gs.Node] = []
    for start in range(len(nodes)):
        if state[start] != _WAITING:
            continue
        stack = [start]
        while stack:
            here = stack[-1]
            state[here] = _OPEN
            above = next((p for p in needs[here] if state[p] != _DONE), None)
            if above is None:
                state[here] = _DONE
                order.append(nodes[here])
                stack.pop()
            elif state[above] == _OPEN:
                raise _cycle(nodes, stack[stack.index(above) :], span)
            else:
                stack.append(above)
    return order


def ordered(node: gs.Node, index: int, place: dict[int, int], tensor_named: Callable[[str], gs.Tensor | None]) -> bool:
    """Whether everything that `node`, at `index`, reads is written before it. `place` is id -> index of all nodes."""
    for tensor in node.inputs:
        if tensor.inputs and place.get(id(tensor.inputs[0]), -1) >= index:
            return False
    captured = meta_of(node).captured
    return not captured or all(p < index for p in _producers(node, place, tensor_named))


def _producers(node: gs.Node, place: dict[int, int], tensor_named: Callable[[str], gs.Tensor | None]) -> list[int]:
    tensors = list(node.inputs)
    tensors += [t for t in map(tensor_named, meta_of(node).captured) if t is not None]
    found = [place.get(id(tensor.inputs[0])) for tensor in tensors if tensor.inputs]
    return [i for i in found if i is not None]


def _cycle(nodes: Sequence[gs.Node], on_it: list[int], span: Span | None) -> QdslError:
    names = [nodes[i].name for i in on_it]
    headline = f"{len(names)} nodes wait for each other: {shown(names)}"
    return problem(span, "model-cycle", headline, "an ONNX graph has no cycles")
