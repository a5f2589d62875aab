"""Write `axis` on Q and DQ with a scale per channel that leave it to ONNX's default, 1: TensorRT wants to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.fixes.mend import FixOf
from qdsl.graph import Model
from qdsl.graph.edit import set_attr
from qdsl.rewrite import Changes, Outcome
from qdsl.spec import Granularity


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "written_axis"
    summary: ClassVar[str] = "write the axis of scales per channel where it was left to the default"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in self.quantizing(model, "QuantizeLinear", "DequantizeLinear"):
            found = self.at[node.name].parameters
            if found.granularity is Granularity.PER_CHANNEL and "axis" not in node.attrs and found.axis is not None:
                changes.fire(self.name, [node.name])
                set_attr(node, "axis", found.axis)
        return changes.outcome()
