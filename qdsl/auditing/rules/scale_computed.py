"""Scales that are computed while the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor, Role


class Check:
    id: ClassVar[str] = "scale_computed"
    summary: ClassVar[str] = "a scale is a graph input, or computed while the model runs"
    explanation: ClassVar[str] = (
        "TensorRT wants a scale when it builds: where a layer multiplies by one that is a graph input, or computed of "
        "one, the builder of TensorRT-RTX 1.7.1 fails (CHECK(is_constant()) failed) or its process dies of signal 11, "
        "without a word; NVIDIA's documentation of 11.4 asks for a build-time constant. What is computed of constants "
        "alone it folds, and takes. Quantize with static ranges."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in of_pairs(audited):
            if record.parameters.scale is not None:
                continue
            yield Finding(
                self.id,
                Severity.ERROR,
                Place("tensor", record.tensor),
                f"the scale of {shown(record.tensor)} is no constant",
                "TensorRT needs it when it builds the engine: the builder fails",
                fix=_fix(record),
                origin=record.origin,
            )


def _fix(record: QuantizedTensor) -> Fix | None:
    readers = [each.node for each in record.readers if each.node]
    if record.role is Role.WEIGHT:
        return recipe_lines("layers {} { weights int8 symmetric per_channel }", *readers) if readers else None
    return recipe_lines("layers tensor {} { activations int8 symmetric }", record.tensor)
