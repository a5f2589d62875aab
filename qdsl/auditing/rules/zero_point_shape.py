"""Zero points of another shape than their scale."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "zero_point_shape"
    summary: ClassVar[str] = "a zero point has another shape than its scale"
    explanation: ClassVar[str] = (
        "ONNX's checker does not look at it, and the file loads: ONNX Runtime 1.32 fails when the node runs, also "
        "with one zero point for many scales. A zero point has the shape of its scale: one for each."
    )
    comes_of_it: ClassVar[str] = "onnxruntime loads the file and fails when it runs"
