"""Facts that hold of every graph between passes, and what passes ask of a node. What one pass ensures stands beside
it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import onnx_graphsurgeon as gs

from qdsl.graph.model import Model
from qdsl.graph.sort import ordered
from qdsl.rewrite.contract import Fact


def sorted_nodes(model: Model) -> Iterator[str]:
    """Every node stands after the nodes that it reads from."""
    nodes = model.nodes()
    place = {id(node): i for i, node in enumerate(nodes)}
    return (node.name for i, node in enumerate(nodes) if not ordered(node, i, place, model.tensor))


def linked(model: Model) -> Iterator[str]:
    """Every tensor that is read has a source, and the links between nodes and tensors agree in both directions."""
    inputs = {id(tensor) for tensor in model.graph.inputs}
    # As sets: a constant that the whole graph shares has as many readers as there are nodes.
    readers: dict[int, set[int]] = {}
    for node in model.nodes():
        for tensor in node.inputs:
            if id(tensor) not in readers:
                readers[id(tensor)] = {id(reader) for reader in tensor.outputs}
            if id(node) not in readers[id(tensor)]:
                yield f"{node.name} <- {tensor.name}"
            if tensor.name and not isinstance(tensor, gs.Constant) and not tensor.inputs and id(tensor) not in inputs:
                yield f"{node.name} <- {tensor.name}"
        for tensor in node.outputs:
            if len(tensor.inputs) != 1 or tensor.inputs[0] is not node:
                yield f"{node.name} -> {tensor.name}"


def unique_names(model: Model) -> Iterator[str]:
    """Every node has a name of its own."""
    seen: set[str] = set()
    for node in model.nodes():
        if not node.name or node.name in seen:
            yield str(node.name)
        seen.add(node.name)


# What every pass may rely on and must leave behind.
ALWAYS: tuple[Fact, ...] = (sorted_nodes, linked, unique_names)


MOST = 3  # offenders that are named


def offenders(model: Model, fact: Fact, most: int = MOST) -> tuple[str, ...]:
    """The first nodes or tensors that break a fact."""
    return tuple(islice(fact(model), most))


def is_op(node: gs.Node, *ops: str) -> bool:
    """Whether the node is one of these operators of ai.onnx."""
    return node.op in ops and not node.domain


def bypass_obstacle(model: Model, node: gs.Node) -> str | None:
    """Why a node whose output equals its first input cannot be taken out; None when it can.

    A graph output keeps its name. It can move to the tensor before it only where that one's name is free to change."""
    source, target = node.inputs[0], node.outputs[0]
    if model.captured(target):
        return "a body reads its output by name"
    if not model.is_output(target):
        return None
    if isinstance(source, gs.Constant) or not source.inputs:
        return "it joins a graph input or constant to a graph output"
    if model.is_output(source):
        return "it joins two graph outputs"
    return "a body reads its input by name" if model.captured(source) else None
