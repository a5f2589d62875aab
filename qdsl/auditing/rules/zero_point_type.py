"""Zero points of another type than their integers."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "zero_point_type"
    summary: ClassVar[str] = "a zero point has another type than the integers"
    explanation: ClassVar[str] = (
        "Such a file is no valid model, and ONNX Runtime 1.32 does not load it (type parameter bound to different "
        "types). Zero point and integers have one type: the zero point says what a QuantizeLinear writes."
    )
    comes_of_it: ClassVar[str] = "onnxruntime does not load the file"
