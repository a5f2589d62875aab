"""Take out a QuantizeLinear that gives back the integers that a DequantizeLinear before it read.

With equal scale and zero point (x - z) * s / s is x - z within two roundings. Where these are less than half a step
(`Parameters.gives_back`) the integers are the same to the bit, and whoever reads them can read those before.

Refused: where they are not, and where the integers themselves are an output of the graph, whose name is public.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from qdsl.auditing.fixes.mend import FixOf
from qdsl.graph import Model
from qdsl.graph.edit import replace_all_uses
from qdsl.rewrite import Changes, Outcome


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "redundant_pairs"
    summary: ClassVar[str] = "read integers where Q gives back what DQ had read"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in self.quantizing(model, "QuantizeLinear"):
            before = self._same(node)
            if before is None:
                continue
            if model.is_output(node.outputs[0]) or model.captured(node.outputs[0]):
                changes.refuse(node.name, "its integers are read by name")
                continue
            changes.fire(self.name, [node.name])
            replace_all_uses(model, node.outputs[0], before.inputs[0])
        return changes.outcome()

    def _same(self, node: gs.Node) -> gs.Node | None:
        """The DequantizeLinear with the same parameters that alone stands before `node`."""
        above = node.inputs[0].inputs
        if len(above) != 1 or above[0].op != "DequantizeLinear" or above[0].name not in self.at:
            return None
        first, second = self.at[above[0].name].parameters, self.at[node.name].parameters
        return above[0] if first.key == second.key and first.gives_back else None
