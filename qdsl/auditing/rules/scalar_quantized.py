"""Q and DQ on tensors without dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import QUANTIZE, pair_nodes
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "scalar_quantized"
    summary: ClassVar[str] = "a single number without dimensions is quantized"
    explanation: ClassVar[str] = (
        "TensorRT's headers say that the input of a quantize layer has at least one dimension. The builder of "
        "TensorRT-RTX 1.7.1 fails for a stored number behind a DequantizeLinear (Quantized constant is only allowed "
        "before DQ), as onnxruntime's quantizer makes it of what a Mul multiplies by; a QuantizeLinear it takes all "
        "the same, so whether a file is refused depends on the version. One number in 8 bits saves nothing: leave it "
        "in floats."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node, record in pair_nodes(audited):
            seen = audited.finished.view.tensors.get(node.inputs[0]) if node.inputs else None
            if seen is None or seen.shape != ():
                continue
            if seen.kind == "constant" and node.op != QUANTIZE:
                yield Finding(
                    self.id,
                    Severity.ERROR,
                    Place("node", node.name),
                    f"{shown(node.name)} dequantizes a single number without dimensions",
                    "TensorRT does not build it",
                    fix=Fix(rewrite="float_scalars", exact=True),
                    origin=record.origin,
                )
            elif node.op == QUANTIZE:
                yield Finding(
                    self.id,
                    Severity.WARNING,
                    Place("node", node.name),
                    f"{shown(node.name)} quantizes {shown(record.tensor)}, which has no dimensions",
                    "TensorRT documents that it does not take that; its parsers differ",
                    fix=recipe_lines("place { leave tensor {} }", record.tensor),
                    origin=record.origin,
                )
