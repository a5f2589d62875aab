"""Types that TensorRT does not import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor, Role

# uint8 and int32 have rules of their own.
_KNOWN = frozenset({"int8", "uint8", "int4", "int32", "float8e4m3fn", "float4e2m1"})
_SCALES = frozenset({"float32", "float16", "bfloat16", ""})  # "" where it is not known


class Check:
    id: ClassVar[str] = "unsupported_type"
    summary: ClassVar[str] = "integers or floats of a type that TensorRT does not import"
    explanation: ClassVar[str] = (
        "TensorRT refuses constants of uint4, int2, int16, uint16 or another float8 than E4M3 before it looks at any "
        "node, and its message names the constant alone (Failed to import initializer). It has int8, int4 (weights), "
        "float8 E4M3 and float4 (blocks of 16). Scales of float8 E8M0 (MXFP8) it refuses as constants, too."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in of_pairs(audited):
            made = record.parameters
            if made.element in _KNOWN and made.scale_element in _SCALES:
                continue
            scales = "" if made.element not in _KNOWN else f" with scales of {made.scale_element}"
            yield Finding(
                self.id,
                Severity.ERROR,
                Place("tensor", record.tensor),
                f"{shown(record.tensor)} is quantized to {made.element}{scales}",
                "TensorRT refuses the file: it has int8, int4, float8 E4M3 and float4",
                fix=_fix(record),
                origin=record.origin,
            )


def _fix(record: QuantizedTensor) -> Fix | None:
    readers = [each.node for each in record.readers if each.node]
    if record.role is Role.WEIGHT:
        return recipe_lines("layers {} { weights int8 symmetric per_channel }", *readers) if readers else None
    return recipe_lines("layers tensor {} { activations int8 symmetric }", record.tensor)
