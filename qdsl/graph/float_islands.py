"""Float islands while they are found: nodes that hand floats to each other between integers. Who asks says what is
float and where integers come and go: a plan by its decisions, an audit by what stands in a file."""

from __future__ import annotations

from dataclasses import dataclass, field

from qdsl.graph.view import NodeView

MOVED_BYTES = 5  # what a Q or a DQ reads and writes for each value: a byte of integers, four of floats


@dataclass(slots=True)
class FloatIsland:
    """Nodes that hand floats to each other, and the tensors at which integers enter and leave them."""

    nodes: list[NodeView] = field(default_factory=list)
    enter: dict[str, None] = field(default_factory=dict)
    leave: dict[str, None] = field(default_factory=dict)


def joined(at: dict[int, FloatIsland], one: FloatIsland, other: FloatIsland) -> FloatIsland:
    """One island of two; `at` has the island of each node by its index. The smaller goes into the larger: linear, times
    the logarithm, in their nodes."""
    if one is other:
        return one
    small, large = sorted((one, other), key=lambda island: len(island.nodes))
    large.nodes += small.nodes
    large.enter |= small.enter
    large.leave |= small.leave
    at.update(dict.fromkeys((node.index for node in small.nodes), large))
    return large
