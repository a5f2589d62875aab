"""Unique node names: the given one where it is unique, else one made from output and operator."""

from __future__ import annotations

import onnx_graphsurgeon as gs


def name_nodes(nodes: list[gs.Node]) -> int:
    """Give every node a name of its own; the first of several equal names keeps it. Returns how many were renamed."""
    taken = {node.name for node in nodes if node.name}
    seen: set[str] = set()
    renamed = 0
    for i, node in enumerate(nodes):
        if not node.name or node.name in seen:
            node.name = fresh(_made(node, i), taken)
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


def _made(node: gs.Node, index: int) -> str:
    output = next((tensor.name for tensor in node.outputs if tensor.name), "")
    return f"{output}_{node.op}" if output else f"{node.op}_{index}"
