"""Scales in blocks that do not cover their tensor."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "block_count"
    summary: ClassVar[str] = "the blocks of a scale do not divide its tensor"
    explanation: ClassVar[str] = (
        "ONNX's checker does not look at it, and the file loads: ONNX Runtime 1.32 fails when the node runs. A scale "
        "in blocks has the shape of the tensor, divided by the block size (rounded up) along the axis."
    )
    comes_of_it: ClassVar[str] = "onnxruntime loads the file and fails when it runs"
