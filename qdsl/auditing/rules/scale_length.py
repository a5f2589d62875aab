"""Scales that are more or fewer than their axis has channels."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "scale_length"
    summary: ClassVar[str] = "a scale has another length than its axis"
    explanation: ClassVar[str] = (
        "ONNX's checker does not look at it, and the file loads: ONNX Runtime 1.32 fails when the node runs, "
        "TensorRT's parser refuses the file (validateScaleDimensions). Along its axis a scale has one number per "
        "channel, or it is one number."
    )
    comes_of_it: ClassVar[str] = "onnxruntime loads the file and fails when it runs; TensorRT's parser refuses it"
