"""Zero points that are not 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.signs import signed
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor


class Check:
    id: ClassVar[str] = "zero_point_not_zero"
    summary: ClassVar[str] = "a zero point is not 0, or is computed"
    explanation: ClassVar[str] = (
        "TensorRT's parser refuses the file (buildZeroPointTensor, shiftIsAllZeros), or its builder, where the zero "
        "point is a graph input: it quantizes symmetrically. Activations for TensorRT are int8, symmetric."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in of_pairs(audited):
            zero = record.parameters.zero_point
            if not record.parameters.zero_written or (zero is not None and not np.any(zero)):
                continue
            yield Finding(
                self.id,
                Severity.ERROR,
                Place("tensor", record.tensor),
                f"the zero point of {shown(record.tensor)} is {_told(record)}",
                "TensorRT refuses the file: it quantizes symmetrically",
                fix=signed(audited, record),
                origin=record.origin,
            )


def _told(record: QuantizedTensor) -> str:
    zero = record.parameters.zero_point
    if zero is None:
        return "computed while the model runs"
    numbers = np.asarray(zero).reshape(-1)
    return f"{numbers[0]}" if numbers.size == 1 else f"not 0 in {np.count_nonzero(numbers)} of {numbers.size} channels"
