"""QuantizeLinear nodes that leave their type to a default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import QUANTIZE, pair_nodes
from qdsl.auditing.rule import Audited
from qdsl.auditing.signs import symmetric
from qdsl.auditing.telling import shown
from qdsl.diag import Severity

_ZERO = 2


class Check:
    id: ClassVar[str] = "zero_point_not_written"
    summary: ClassVar[str] = "a QuantizeLinear without a zero point: ONNX means uint8, TensorRT int8"
    explanation: ClassVar[str] = (
        "The same file means two things, and nobody says so: without a zero point ONNX's QuantizeLinear writes uint8, "
        "TensorRT's int8. ONNX Runtime saturates negative values at 0, TensorRT does not. Write the zero point, of "
        "int8 for TensorRT."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node, record in pair_nodes(audited):
            written = len(node.inputs) > _ZERO and node.inputs[_ZERO]
            if node.op != QUANTIZE or written or node.attrs.get("output_dtype"):
                continue
            lines = symmetric(audited, record)
            yield Finding(
                self.id,
                Severity.ERROR,
                Place("node", node.name),
                f"{shown(node.name)} has no zero point to say what it writes",
                "ONNX means uint8 by that, TensorRT int8: the same file computes two things",
                fix=Fix(() if lines is None else lines.lines, "written_zero_point", exact=True),
                origin=record.origin,
            )
