"""What an interpreter holds while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Encoding, IntegerGraph, Op
from qdsl.integer.rounding import Rounding


@dataclass(frozen=True, slots=True)
class Values:
    """`arrays` by name of the tensor, as stored; kernels add those of further outputs themselves."""

    graph: IntegerGraph
    rounding: Rounding
    arrays: dict[str, NDArray[Any]]

    def encoding(self, name: str) -> Encoding:
        """Of a tensor that has one. Raises ValueError where it has none."""
        encoding = self.graph.tensors[name].encoding
        if encoding is None:
            raise ValueError(f"{name} has no scale and zero point")
        return encoding

    def quantized(self, name: str) -> bool:
        """Whether a tensor holds codes with an encoding known beforehand."""
        return self.graph.tensors[name].encoding is not None

    def found(self, op: Op) -> Encoding | None:
        """The encoding of the first input where it was found at run time: the second input holds it."""
        if len(op.inputs) == 1:
            return None
        scale, zero = self.arrays[op.inputs[1]]
        return Encoding(float(np.float32(scale)), int(zero))

    def codes(self, op: Op) -> tuple[NDArray[Any], int]:
        """The first input and its zero point."""
        encoding = self.found(op) or self.encoding(op.inputs[0])
        return self.arrays[op.inputs[0]], encoding.zero
