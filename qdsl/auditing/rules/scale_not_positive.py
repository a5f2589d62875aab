"""Scales of 0, below 0, infinite or no number."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "scale_not_positive"
    summary: ClassVar[str] = "a scale is 0, negative, infinite or no number"
    explanation: ClassVar[str] = (
        "ONNX Runtime 1.32 takes any scale, and computes nonsense: 0 makes every value 0, NaN makes every value NaN, "
        "a negative one turns the order of the integers around. TensorRT's parser refuses the file (scale "
        "coefficients must all be positive), but for infinity, which it takes. A scale is the size of a step; a "
        "channel without weights has any positive one."
    )
    comes_of_it: ClassVar[str] = (
        "onnxruntime answers 0 or NaN for 0 and NaN, and turns the order around below 0; TensorRT refuses the file"
    )
