"""float32 scales in a float16 graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import listed
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor
from qdsl.spec.words import count

_HALF = frozenset({"float16", "bfloat16"})


class Check:
    id: ClassVar[str] = "scales_wider"
    summary: ClassVar[str] = "float32 scales in a float16 graph: what stands behind them is float32"
    explanation: ClassVar[str] = (
        "With strong typing, and there is no other in TensorRT 11, a DequantizeLinear writes the type of its scale: "
        "float32 scales in a float16 graph make what reads them compute and write float32, until a Cast or a fault "
        "(`float_types_differ`) ends it. Scales of float16 take opset 19; a Cast right behind each DequantizeLinear "
        "does as well (TensorRT-RTX 1.7.1 computes such a Conv in int8)."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        wide = [each for each in of_pairs(audited) if _is_wide(audited, each)]
        if not wide:
            return
        tensors = list(dict.fromkeys(each.tensor for each in wide))
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("tensor", tensors[0]),
            f"{count(len(tensors), 'tensor')} of float16 {'has' if len(tensors) == 1 else 'have'} float32 scales: "
            f"{listed(tensors)}",
            "what reads them computes in float32 beside a float16 graph: write the scales as float16",
            also=tuple(Place("tensor", name) for name in tensors[1:]),
        )


def _is_wide(audited: Audited, record: QuantizedTensor) -> bool:
    """Whether a float16 tensor comes back as float32, and is read as that."""
    view = audited.finished.view
    seen = view.tensors.get(record.tensor)
    if not record.quantizers or seen is None or seen.dtype not in _HALF or record.parameters.scale_element in _HALF:
        return False
    readers = [view.node(each.node).op for each in record.readers if each.node]
    return any(op != "Cast" for op in readers) or any(not each.node for each in record.readers)
