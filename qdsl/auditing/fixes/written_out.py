"""Write operators that compute on integers (QLinearConv, ..) as the float operator between DequantizeLinear and
QuantizeLinear that they stand for: TensorRT has no other form.

Integers and scales are the same. What is computed between them is rounded as floats and not as integers: where a result
lies half between two steps, it may be the other one. Refused: scales that are found while the model runs, channels in
the last place, and operators that stand for no one float operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.fixes.mend import FixOf
from qdsl.causes.written_out import write_out
from qdsl.graph import Model
from qdsl.graph.integer_operators import says_quantized
from qdsl.rewrite import Changes, Outcome

_READ = frozenset({"QuantizeLinear", "MatMulNBits"})  # TensorRT has these


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "written_out"
    summary: ClassVar[str] = "write operators on integers as float operators between Q and DQ"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            op = node.op
            if not says_quantized(op) or op in _READ or self.spares(node.name):
                continue
            if write_out(model, node):
                changes.fire(self.name, [node.name])
            else:
                changes.refuse(node.name, f"{op} stands for no float operator with static scales")
        return changes.outcome()
