"""Store what a Clip, a Transpose or the like makes of stored integers, and leave out the zeros with which a Pad fills:
TensorRT wants stored integers right before their DequantizeLinear, and nowhere else.

The integers are the same. Refused: those that are not known before the model runs, and another fill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qdsl.auditing.fixes.mend import FixOf
from qdsl.finished.codes import codes
from qdsl.finished.records import Form
from qdsl.graph import Model
from qdsl.graph.edit import add_constant, remove_node, replace_input
from qdsl.rewrite import Changes, Outcome

_PAD, _FILL = "Pad", 2


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "stored_integers"
    summary: ClassVar[str] = "store integers as they are dequantized"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        self._fills(model, changes)
        between: set[str] = set()
        for node in self.quantizing(model, "DequantizeLinear"):
            record = self.at[node.name]
            if record.form is not Form.STORED or not record.between:
                continue
            held = codes(self.finished, record)
            if held is None:
                changes.refuse(node.name, "its integers are not known before the model runs")
                continue
            changes.fire(self.name, [node.name])
            between.update(record.between)
            made = add_constant(model, f"{record.stored}_moved", held, record.parameters.element)
            replace_input(model, node, 0, made)
        for node in reversed(model.nodes()):
            unread = not any(each.outputs or model.is_output(each) or model.captured(each) for each in node.outputs)
            if node.name in between and unread:
                remove_node(model, node)
        model.sweep()
        return changes.outcome()

    def _fills(self, model: Model, changes: Changes) -> None:
        """A Pad without a fill has zeros."""
        for node in model.nodes():
            if node.op != _PAD or self.spares(node.name) or len(node.inputs) <= _FILL or not node.inputs[_FILL].name:
                continue
            seen = self.finished.view.tensors.get(node.inputs[_FILL].name)
            if seen is None or seen.kind != "constant" or seen.dtype != "int8":
                continue
            if np.any(model.values(seen.name)):
                changes.refuse(node.name, "it fills with another integer than 0")
                continue
            changes.fire(self.name, [node.name])
            replace_input(model, node, _FILL, None)
