"""Weights of 4 bits with an odd number of elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor


class Check:
    id: ClassVar[str] = "four_bits_odd"
    summary: ClassVar[str] = "a 4 bit weight has an odd number of elements"
    explanation: ClassVar[str] = (
        "TensorRT refuses the file: it packs two integers of 4 bits into a byte. Its parser says so of a "
        "QuantizeLinear (an even number of elements), its builder of stored integers (odd tensor volume is not "
        "supported)."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in audited.finished.tensors:
            seen = audited.finished.view.tensors.get(record.stored)
            if record.parameters.element == "int4" and seen is not None and (seen.elements or 0) % 2:
                yield Finding(
                    self.id,
                    Severity.ERROR,
                    Place("tensor", record.tensor),
                    f"{shown(record.tensor)} has {seen.elements} integers of 4 bits, an odd number",
                    "TensorRT refuses the file",
                    fix=_fix(record),
                    origin=record.origin,
                )


def _fix(record: QuantizedTensor) -> Fix | None:
    readers = [each.node for each in record.readers if each.node]
    return recipe_lines("layers {} { weights int8 symmetric }", *readers) if readers else None
