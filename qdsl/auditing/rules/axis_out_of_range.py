"""Axes that the quantized tensor does not have."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "axis_out_of_range"
    summary: ClassVar[str] = "the axis of the scales is none of the tensor's"
    explanation: ClassVar[str] = (
        "ONNX's checker does not look at it, and the file loads: ONNX Runtime 1.32 fails when the node runs, or, "
        "where it fuses a Conv, takes the scales of the weight for those of the output channels, whatever the axis "
        "says, and answers. Along an axis that the tensor does not have there is nothing to scale."
    )
    comes_of_it: ClassVar[str] = "onnxruntime fails when the node runs, or fuses it with the scales along another axis"
