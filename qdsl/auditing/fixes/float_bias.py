"""Store a bias of integers as the floats that its DequantizeLinear makes of it: TensorRT takes no int32 there.

The values are the same to the bit. Refused: a bias that is an output of the graph, or too large to be one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from qdsl.auditing.fixes.mend import FixOf
from qdsl.finished.codes import codes, scales, zeros
from qdsl.finished.records import Role
from qdsl.graph import Model
from qdsl.graph.edit import remove_node, to_constant
from qdsl.rewrite import Changes, Outcome

_LARGEST = 1 << 24  # bytes
_FLOAT = (None, onnx.TensorProto.UNDEFINED, onnx.TensorProto.FLOAT)  # of `output_dtype`, since opset 23


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "float_bias"
    summary: ClassVar[str] = "store biases of integers as floats"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in self.quantizing(model, "DequantizeLinear"):
            if self.at[node.name].role is not Role.BIAS:
                continue
            value = self._value(node)
            if value is None or model.is_output(node.outputs[0]):
                changes.refuse(node.name, "what it computes is not known, or is an output")
                continue
            changes.fire(self.name, [node.name])
            to_constant(model, node.outputs[0], value)
            remove_node(model, node)
        return changes.outcome()

    def _value(self, node: gs.Node) -> NDArray[np.float32] | None:
        record = self.at[node.name]
        stored = self.finished.view.tensors.get(record.stored)
        if node.attrs.get("output_dtype") not in _FLOAT:
            return None
        if record.parameters.scale_element != "float32" or stored is None or (stored.elements or 0) * 4 > _LARGEST:
            return None
        held = codes(self.finished, record)
        if held is None:
            return None
        scale, zero = scales(record.parameters, held.shape), zeros(record.parameters, held.shape)
        if scale is None or zero is None:
            return None
        with np.errstate(over="ignore", invalid="ignore"):  # whatever the file's scale is, as it is computed there
            return ((held.astype(np.int32) - zero).astype(np.float32) * scale).astype(np.float32)
