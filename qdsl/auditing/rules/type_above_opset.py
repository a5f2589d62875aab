"""Types that QuantizeLinear and DequantizeLinear of the file's opset do not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.nodes import of_onnx, pair_nodes, told_of_nodes
from qdsl.auditing.rule import Audited
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor
from qdsl.graph.view import NodeView
from qdsl.spec import DTYPES

# The first opset that quantizes to them, and the first with scales of a type (schemas of QuantizeLinear-10, -13, -19,
# -21, -23, -24, -25).
_FLOATS = {
    **dict.fromkeys(("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"), 19),
    "float4e2m1": 23,
}
_SCALES = {"float32": 10, "float16": 19, "bfloat16": 19, "float8e8m0": 24}
# What the operators of com.microsoft take instead, at any opset.
_ELSEWHERE = frozenset({"int16", "uint16", "int4", "uint4"})


class Check:
    id: ClassVar[str] = "type_above_opset"
    summary: ClassVar[str] = "a type of integers or scales that the opset's Q and DQ do not have"
    explanation: ClassVar[str] = (
        "The file is no valid model, and ONNX Runtime 1.32 does not load it (type error, invalid graph). "
        "QuantizeLinear has int8 and uint8 from opset 10 on, float8 and scales of float16 from 19, 4 and 16 bit "
        "integers from 21, float4 from 23, 2 bit integers from 25. The operators of com.microsoft take 4 and 16 bit "
        "integers at any opset. qdsl raises the opset of what it emits as far as its types need."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        found: dict[tuple[str, int], list[NodeView]] = {}
        for node, record in pair_nodes(audited):
            what, needed = _needs(record)
            if of_onnx(node) and needed > audited.finished.view.opset:
                found.setdefault((what, needed), []).append(node)
        for (what, needed), nodes in found.items():
            other = ", or the same operators of com.microsoft" if what in _ELSEWHERE else ""
            yield told_of_nodes(
                self.id,
                Severity.ERROR,
                nodes,
                f"{what} at opset {audited.finished.view.opset}",
                f"onnxruntime does not load the file; it takes opset {needed}{other}",
            )


def _needs(record: QuantizedTensor) -> tuple[str, int]:
    """What of a record needs the highest opset, and which."""
    known = record.parameters
    integers, scale = _first(known.element), _SCALES.get(known.scale_element, 0)
    return (known.element, integers) if integers >= scale else (f"scales of {known.scale_element}", scale)


def _first(element: str) -> int:
    """The first opset that quantizes to a type; 0 where every one does, as to int32 biases."""
    dtype = DTYPES.get(element)
    return _FLOATS.get(element, 0) if dtype is None or dtype.qdq_opset is None else dtype.qdq_opset
