"""Remove nodes and constants that nobody reads.

Fires on every node from which no graph output can be reached; tensors that the body of a living If, Loop or Scan reads
count as read. Graph inputs stay, read or not. Refuses nothing.
Guarantees that every remaining node has an output that is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from qdsl.graph.edit import remove_node
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite


def no_dead_nodes(model: Model) -> Iterator[str]:
    """Every node has an output that somebody reads."""
    outputs = {id(tensor) for tensor in model.graph.outputs}
    for node in model.nodes():
        if not any(t.outputs or id(t) in outputs or model.captured(t) for t in node.outputs):
            yield str(node.name)


@dataclass(frozen=True, slots=True)
class DeadCode(Rewrite):
    """No options."""

    name: ClassVar[str] = "dead_code"
    summary: ClassVar[str] = "remove nodes and constants that nobody reads"
    ensures: ClassVar[tuple[Fact, ...]] = (no_dead_nodes,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        living = _living(model)
        for node in reversed(model.nodes()):
            if id(node) not in living:
                changes.fire("remove_dead_node", [node.name])
                remove_node(model, node)
        model.sweep()
        return changes.outcome()


def _living(model: Model) -> set[int]:
    """The nodes from which an output can be reached, by id."""
    roots = [*model.graph.outputs, *(model.tensor(name) for name in sorted(model.pinned))]
    waiting: list[gs.Tensor | None] = list(roots)
    living: set[int] = set()
    while waiting:
        tensor = waiting.pop()
        for node in tensor.inputs if tensor is not None else ():
            if id(node) not in living:
                living.add(id(node))
                waiting += node.inputs
                waiting += [model.tensor(name) for name in meta_of(node).captured]
    return living
