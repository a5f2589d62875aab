"""Take out Q and DQ that nobody reads, and what then reads nothing of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.fixes.mend import FixOf
from qdsl.graph import Model
from qdsl.graph.edit import remove_node
from qdsl.graph.meta import meta_of
from qdsl.graph.moves import FROM_ONE
from qdsl.rewrite import Changes, Outcome

_QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "dangling_nodes"
    summary: ClassVar[str] = "take out Q and DQ that nobody reads"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        left: set[int] = set()  # tensors that lost a reader
        for node in reversed(model.nodes()):
            behind = node.op in FROM_ONE and any(id(tensor) in left for tensor in node.outputs)
            if not (node.op in _QUANTIZING or behind) or self.spares(node.name) or meta_of(node).captured:
                continue
            if any(each.outputs or model.is_output(each) or model.captured(each) for each in node.outputs):
                continue
            left.update(id(tensor) for tensor in node.inputs)
            changes.fire(self.name, [node.name])
            remove_node(model, node)
        model.sweep()
        return changes.outcome()
