"""Store a bias of integers as the floats that its DequantizeLinear makes of it: TensorRT takes no int32 there.

The values are the same to the bit. Refused: a bias that is an output of the graph, or too large to be one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.fixes.floats_of import floats_of
from qdsl.auditing.fixes.mend import FixOf
from qdsl.finished.records import QuantizedTensor, Role
from qdsl.graph import Model
from qdsl.graph.edit import remove_node, to_constant
from qdsl.rewrite import Changes, Outcome


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "float_bias"
    summary: ClassVar[str] = "store biases of integers as floats"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in self.quantizing(model, "DequantizeLinear"):
            if not self._asks(self.at[node.name]):
                continue
            value = floats_of(self.finished, self.at[node.name], node)
            if value is None or model.is_output(node.outputs[0]):
                changes.refuse(node.name, "what it computes is not known, or is an output")
                continue
            changes.fire(self.name, [node.name])
            to_constant(model, node.outputs[0], value)
            remove_node(model, node)
        return changes.outcome()

    def _asks(self, record: QuantizedTensor) -> bool:
        """Whether what a DequantizeLinear of `record` writes is to be floats."""
        return record.role is Role.BIAS
