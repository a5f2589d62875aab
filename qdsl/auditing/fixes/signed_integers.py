"""Turn uint8 into int8, and zero points into 0, where the values stay the same to the bit: TensorRT has int8 around 0
alone.

An activation of uint8 around 128 is one of int8 around 0. What is stored is counted from its zero point, where that
fits into int8; a float weight behind a QuantizeLinear is stored as what it makes of it.

Refused: activations around other zero points, of which int8 does not hold all steps; stored integers that lie more than
127 above their zero point or 128 below; integers that something else than a DequantizeLinear or a mere move reads, and
those that enter or leave the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from qdsl.auditing.fixes.integers import integers
from qdsl.auditing.fixes.mend import FixOf
from qdsl.auditing.signs import MIDDLE, counted, fits_signed
from qdsl.finished.records import Form, QuantizedTensor, Role
from qdsl.graph import Model
from qdsl.graph.edit import add_constant, replace_input, set_attr
from qdsl.graph.edit_qdq import set_element_type
from qdsl.rewrite import Changes, Outcome

_DATA, _ZERO = 0, 2
_EIGHT_BITS = frozenset({"uint8", "int8"})
_BETWEEN = "int8 around 0 does not hold all its steps: quantize it anew, symmetrically"


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "signed_integers"
    summary: ClassVar[str] = "turn uint8 into int8 around 0, exactly"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        nodes = {node.name: node for node in model.nodes()}
        zero = _Zeros(model)
        for record in self.finished.tensors:
            if not _asks(record) or self.spares(record.tensor, *record.quantizers, *record.dequantizers):
                continue
            members = [nodes[name] for name in (*record.quantizers, *record.dequantizers) if name in nodes]
            if not members or len(members) != len(record.quantizers) + len(record.dequantizers):
                continue  # an operator holds them
            act = self._passed if record.role is Role.ACTIVATION else self._stored
            refused = act(model, record, members, zero)
            if refused:
                changes.refuse(members[0].name, refused)
            else:
                changes.fire(self.name, [node.name for node in members])
        return changes.outcome()

    def _passed(self, model: Model, record: QuantizedTensor, members: list[gs.Node], zero: _Zeros) -> str:
        """Move the zero point of an activation; why it stays otherwise."""
        found = record.parameters
        if record.form is not Form.PAIR or len(record.quantizers) != 1:
            return "its integers enter or leave the graph, or an operator reads them"
        if found.zero_point is None and found.zero_written:
            return "its zero point is computed while the model runs"
        if found.element != "uint8" or found.zero_point is None or not np.all(found.zero_point == MIDDLE):
            return _BETWEEN
        inside = integers(model, members[:1], {node.name for node in members})
        if inside is None or found.low is not None:
            return "something else reads its integers"
        for node in members:
            replace_input(model, node, _ZERO, zero.like(found.zero_point))
        set_attr(members[0], "output_dtype", None)  # the zero point says it
        for tensor in inside:
            set_element_type(tensor, "int8")
        return ""

    def _stored(self, model: Model, record: QuantizedTensor, members: list[gs.Node], zero: _Zeros) -> str:
        """Count stored integers from their zero point; why they stay otherwise."""
        values = counted(self.finished, record)
        if values is None or record.parameters.scale is None:
            return "its integers or its scale are not known"
        if not fits_signed(values):
            return f"its integers lie {values.min()} to {values.max()} from their zero point: {_BETWEEN}"
        constant = add_constant(model, f"{record.stored or record.tensor}_signed", values.astype(np.int8))
        for node in members:
            if node.op == "DequantizeLinear":
                replace_input(model, node, _DATA, constant)
                replace_input(model, node, _ZERO, zero.like(record.parameters.scale))
        return ""


@dataclass
class _Zeros:
    """Zero points of int8, one constant for equal shapes."""

    model: Model

    def __post_init__(self) -> None:
        self._made: dict[tuple[int, ...], gs.Constant] = {}

    def like(self, values: NDArray[Any]) -> gs.Constant:
        shape = np.shape(values)
        if shape not in self._made:
            self._made[shape] = add_constant(self.model, "zero_point_signed", np.zeros(shape, np.int8))
        return self._made[shape]


def _asks(record: QuantizedTensor) -> bool:
    """Whether TensorRT does not take it as it is."""
    found = record.parameters
    if found.element not in _EIGHT_BITS or not record.dequantizers:
        return False
    moved = found.zero_written and (found.zero_point is None or bool(np.any(found.zero_point)))
    return found.element == "uint8" or moved
