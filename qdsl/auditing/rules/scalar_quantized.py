"""A QuantizeLinear on a tensor without dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import QUANTIZE, pair_nodes
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "scalar_quantized"
    summary: ClassVar[str] = "a QuantizeLinear reads a tensor of no dimensions"
    explanation: ClassVar[str] = (
        "TensorRT's headers say that the input of a quantize layer has at least one dimension. TensorRT-RTX 1.7.1 "
        "takes it all the same, so whether a file is refused depends on the version. One number in 8 bits saves "
        "nothing: leave it in floats."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node, record in pair_nodes(audited):
            seen = audited.finished.view.tensors.get(node.inputs[0]) if node.inputs else None
            if node.op == QUANTIZE and seen is not None and seen.shape == ():
                yield Finding(
                    self.id,
                    Severity.WARNING,
                    Place("node", node.name),
                    f"{shown(node.name)} quantizes {shown(record.tensor)}, which has no dimensions",
                    "TensorRT documents that it does not take that; its parsers differ",
                    fix=recipe_lines("place { leave tensor {} }", record.tensor),
                    origin=record.origin,
                )
