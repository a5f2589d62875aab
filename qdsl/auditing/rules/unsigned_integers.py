"""Unsigned integers, which TensorRT reads as signed ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.signs import signed
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Form

# The integers stand in the file or come from the caller, and no QuantizeLinear makes them.
_GIVEN = frozenset({Form.STORED, Form.LONE_DEQUANTIZE})
_REFUSED = "TensorRT refuses the file: it takes no integers of uint8"


class Check:
    id: ClassVar[str] = "unsigned_integers"
    summary: ClassVar[str] = "uint8 integers, which TensorRT reads as int8, or refuses where they are stored"
    explanation: ClassVar[str] = (
        "TensorRT's parser reads int8 instead, with no more than a warning (10.3 and later, seen with TensorRT-RTX "
        "1.7.1; 10.1 refuses): with zero point 0 and a scale for 0..255 every value above 127 steps saturates. "
        "So a file that is right in ONNX Runtime is wrong there. Constants and graph inputs of uint8 it refuses "
        "(Found unsupported input type of UINT8). Activations for TensorRT are int8, symmetric."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in of_pairs(audited):
            if record.parameters.element != "uint8":
                continue
            yield Finding(
                self.id,
                Severity.ERROR,
                Place("tensor", record.tensor),
                f"{shown(record.tensor)} is quantized to uint8",
                _REFUSED if record.form in _GIVEN else "TensorRT reads int8 instead: what is above 127 steps saturates",
                fix=signed(audited, record),
                origin=record.origin,
            )
