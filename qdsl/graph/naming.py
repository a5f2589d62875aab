"""Unique node names: the given one where it is unique, else one made from output and operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_graphsurgeon as gs
from onnx import NodeProto


def name_nodes(nodes: list[gs.Node]) -> int:
    """Give every node a name of its own; the first of several equal names keeps it. Returns how many were renamed."""
    return _named(nodes, lambda node: node.op, lambda node: [tensor.name for tensor in node.outputs])


def name_protos(nodes: Sequence[NodeProto]) -> int:
    """The same for nodes as a file has them: the names under which the graph knows them once it is loaded."""
    return _named(nodes, lambda node: node.op_type, lambda node: node.output)


def _named(nodes: Sequence[Any], operator: Callable[[Any], str], outputs: Callable[[Any], Sequence[str]]) -> int:
    taken = {node.name for node in nodes if node.name}
    seen: set[str] = set()
    renamed = 0
    for i, node in enumerate(nodes):
        if not node.name or node.name in seen:
            node.name = fresh(_made(operator(node), outputs(node), i), taken)
            renamed += 1
        seen.add(node.name)
        taken.add(node.name)
    return renamed


def fresh(base: str, taken: set[str]) -> str:
    """`base`, or `base_2`, `base_3`, ... : the first that is not taken."""
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def _made(operator: str, outputs: Sequence[str], index: int) -> str:
    output = next(filter(None, outputs), "")
    return f"{output}_{operator}" if output else f"{operator}_{index}"
