"""Raise the model to an opset in which more can be written, or more runs in integers.

Carried out by ONNX's own version converter, on the graph without its weights. Fires once, or not at all where the model
is there already. Refuses, with the reason, where an operator has no way up or an output would change its type or shape:
the model then stays as it is. Guarantees that outputs, node names, metadata and weights are carried over, and that what
the model answers is the same: the converter spells out what a newer operator does otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.diag import QdslError
from qdsl.graph.model import Model
from qdsl.graph.upgrading import upgrade_opset
from qdsl.rewrite import Changes, Outcome, Rewrite


@dataclass(frozen=True, slots=True)
class RaiseOpset(Rewrite):
    """`to`: the version of ai.onnx."""

    to: int

    name: ClassVar[str] = "raise_opset"
    summary: ClassVar[str] = "bring the model to a newer opset of ONNX"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        if model.opset >= self.to:
            return changes.outcome()
        try:
            raised = upgrade_opset(model, self.to)
        except QdslError as found:
            changes.refuse(model.name, found.diagnostics[0].headline)
            return changes.outcome()
        changes.fire("raise_opset", [node.name for node in model.nodes()])
        model.become(raised)
        return changes.outcome()
