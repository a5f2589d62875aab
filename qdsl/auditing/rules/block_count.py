"""Scales in blocks that do not cover their tensor."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "block_count"
    summary: ClassVar[str] = "the blocks of a scale do not divide its tensor"
    explanation: ClassVar[str] = (
        "A scale in blocks has the shape of the tensor, divided by the block size (rounded up) along the axis. ONNX's "
        "checker does not look at it, and a file with another count loads: ONNX Runtime 1.32 fails when the node "
        "runs."
    )
    comes_of_it: ClassVar[str] = "onnxruntime loads the file and fails when it runs"
