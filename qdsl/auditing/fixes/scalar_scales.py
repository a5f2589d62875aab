"""Write a scale of one element on an activation as a number without dimensions, and its zero point with it: TensorRT
takes a vector of one for a scale per channel.

ONNX means the same by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from qdsl.auditing.fixes.mend import FixOf
from qdsl.finished.records import Role
from qdsl.graph import Model
from qdsl.graph.edit import add_constant, replace_input
from qdsl.rewrite import Changes, Outcome
from qdsl.spec import Granularity

_PORTS = (1, 2)  # of scale and zero point


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "scalar_scales"
    summary: ClassVar[str] = "write scales of one element without dimensions"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        made: dict[str, gs.Constant] = {}
        for node in self.quantizing(model, "QuantizeLinear", "DequantizeLinear"):
            record = self.at[node.name]
            if record.role is not Role.ACTIVATION or record.parameters.granularity is not Granularity.PER_TENSOR:
                continue
            ports = [port for port in _PORTS if self._is_vector(node, port)]
            for port in ports:
                name = node.inputs[port].name
                if name not in made:
                    made[name] = add_constant(model, f"{name}_scalar", model.values(name).reshape(()))
                replace_input(model, node, port, made[name])
            if ports:
                changes.fire(self.name, [node.name])
        return changes.outcome()

    def _is_vector(self, node: gs.Node, port: int) -> bool:
        seen = self.finished.view.tensors.get(node.inputs[port].name) if len(node.inputs) > port else None
        return seen is not None and seen.kind == "constant" and seen.shape == (1,)
