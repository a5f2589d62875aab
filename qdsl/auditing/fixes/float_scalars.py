"""Store single numbers of integers, without dimensions, as the floats that their DequantizeLinear makes of them:
TensorRT does not build those.

The values are the same to the bit. Refused: what is an output of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.fixes.float_bias import Mend as FloatBias
from qdsl.finished.records import Form, QuantizedTensor


@dataclass(frozen=True)
class Mend(FloatBias):
    """No options of its own."""

    name: ClassVar[str] = "float_scalars"
    summary: ClassVar[str] = "store single numbers of integers as floats"

    def _asks(self, record: QuantizedTensor) -> bool:
        seen = self.finished.view.tensors.get(record.stored)
        return record.form is Form.STORED and seen is not None and seen.shape == ()
