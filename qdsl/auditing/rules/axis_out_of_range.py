"""Axes that the quantized tensor does not have."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "axis_out_of_range"
    summary: ClassVar[str] = "the axis of the scales is none of the tensor's"
    explanation: ClassVar[str] = (
        "Along an axis that the tensor does not have there is nothing to scale. ONNX's checker does not look at it. "
        "ONNX Runtime 1.32 fails when the node runs, but for weights of a Conv that is fused: its kernel takes the "
        "scales for those of the output channels, whatever the axis says, and answers."
    )
    comes_of_it: ClassVar[str] = "onnxruntime fails when the node runs, or fuses it with the scales along another axis"
