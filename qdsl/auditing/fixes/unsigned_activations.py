"""Turn int8 activations into uint8 with a zero point 128 higher: the same values to the bit, for kernels that read
uint8.

All of them, not only those that a finding names: kernels want one type on both sides of an operator. Refused: integers
that something else than a DequantizeLinear or a mere move reads, and those that leave the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.auditing.fixes.integers import integers
from qdsl.auditing.fixes.mend import FixOf
from qdsl.finished.records import Form, QuantizedTensor, Role
from qdsl.graph import Model
from qdsl.graph.edit import add_constant, replace_input, set_attr
from qdsl.graph.edit_qdq import set_element_type
from qdsl.rewrite import Changes, Outcome

_SHIFT = 128
_ZERO = 2


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "unsigned_activations"
    summary: ClassVar[str] = "turn int8 activations into uint8, exactly"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        nodes = {node.name: node for node in model.nodes()}
        zeros: dict[bytes, gs.Constant] = {}
        for record in self.finished.tensors:
            if not _signed(record) or self.spares(record.tensor, *record.quantizers):
                continue
            members = [nodes[name] for name in (*record.quantizers, *record.dequantizers) if name in nodes]
            inside = integers(model, members[:1], {node.name for node in members})
            if inside is None or len(members) != len(record.quantizers) + len(record.dequantizers):
                changes.refuse(record.quantizers[0], "something else reads its integers")
                continue
            changes.fire(self.name, [node.name for node in members])
            for node in members:
                replace_input(model, node, _ZERO, _shifted(model, record, zeros))
            for node in members[:1]:
                set_attr(node, "output_dtype", None)  # the zero point says it
            for tensor in inside:
                set_element_type(tensor, "uint8")
        return changes.outcome()


def _signed(record: QuantizedTensor) -> bool:
    found = record.parameters
    pair = record.role is Role.ACTIVATION and record.form is Form.PAIR and len(record.quantizers) == 1
    known = found.scale is not None and (found.zero_point is not None or not found.zero_written)
    return pair and known and found.element == "int8" and found.low is None


def _shifted(model: Model, record: QuantizedTensor, zeros: dict[bytes, gs.Constant]) -> gs.Constant:
    """The zero point as uint8, one constant for equal ones."""
    found = record.parameters
    assert found.scale is not None, "it was asked for"
    held = np.zeros(found.scale.shape, np.int8) if found.zero_point is None else np.asarray(found.zero_point)
    value = (held.astype(np.int16) + _SHIFT).astype(np.uint8)
    key = repr(value.shape).encode() + value.tobytes()
    if key not in zeros:
        zeros[key] = add_constant(model, "zero_point_unsigned", value)
    return zeros[key]
