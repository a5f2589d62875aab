"""Scales per channel at an opset that has one scale per tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.nodes import of_onnx, pair_nodes, told_of_nodes
from qdsl.auditing.rule import Audited
from qdsl.diag import Severity
from qdsl.spec import Granularity

_FIRST = 13


class Check:
    id: ClassVar[str] = "axis_below_opset"
    summary: ClassVar[str] = "scales per channel, or `axis`, at an opset below 13"
    explanation: ClassVar[str] = (
        "With the attribute the file is no valid model before opset 13, and ONNX Runtime 1.32 does not load it "
        "(unrecognized attribute); without, it takes axis 1, which the standard does not say. onnxruntime's own "
        "quantizer writes such files for models of opset 10 to 12 with per_channel. Upgrade the float model to opset "
        "13 first; qdsl does so by itself."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        opset = audited.finished.view.opset
        nodes = [(node, record) for node, record in pair_nodes(audited) if of_onnx(node)] if opset < _FIRST else []
        written = [node for node, _ in nodes if "axis" in node.attrs]
        several = [n for n, r in nodes if "axis" not in n.attrs and r.parameters.granularity is Granularity.PER_CHANNEL]
        if written:
            why = "onnxruntime does not load the file: the attribute comes with opset 13"
            yield told_of_nodes(self.id, Severity.ERROR, written, f"`axis` at opset {opset}", why)
        if several:
            why = "the standard has one scale per tensor before opset 13; onnxruntime takes axis 1"
            yield told_of_nodes(self.id, Severity.WARNING, several, f"scales per channel at opset {opset}", why)
