"""Write the zero point of Q and DQ that leave it out, where it is 0: its type then says what the integers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qdsl.auditing.fixes.mend import FixOf
from qdsl.graph import Model
from qdsl.graph.edit import add_constant, replace_input
from qdsl.rewrite import Changes, Outcome
from qdsl.spec import DTYPES

_ZERO = 2


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "written_zero_point"
    summary: ClassVar[str] = "write zero points that were left out"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in self.quantizing(model, "QuantizeLinear", "DequantizeLinear"):
            if len(node.inputs) > _ZERO and node.inputs[_ZERO].name:
                continue
            found = self.at[node.name].parameters
            dtype = DTYPES.get(found.element)
            if dtype is None or not dtype.integer or found.scale is None:
                changes.refuse(node.name, f"{found.element} has no such zero point, or the scale is computed")
                continue
            changes.fire(self.name, [node.name])
            held = np.zeros(found.scale.shape, np.int8 if dtype.signed else np.uint8)
            zero = add_constant(model, f"{node.name}_zero_point", held, found.element)
            replace_input(model, node, _ZERO, zero)
        return changes.outcome()
