"""Scales in blocks at an opset that has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding
from qdsl.auditing.nodes import of_onnx, pair_nodes, told_of_nodes
from qdsl.auditing.rule import Audited
from qdsl.diag import Severity

_FIRST = 21


class Check:
    id: ClassVar[str] = "block_below_opset"
    summary: ClassVar[str] = "scales in blocks at an opset below 21"
    explanation: ClassVar[str] = (
        "The file is no valid model, and ONNX Runtime 1.32 does not load it (unrecognized attribute). QuantizeLinear "
        "and DequantizeLinear know `block_size` from opset 21 on."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        opset = audited.finished.view.opset
        nodes = [node for node, _ in pair_nodes(audited) if of_onnx(node) and node.attrs.get("block_size")]
        if nodes and opset < _FIRST:
            why = "onnxruntime does not load the file: the attribute comes with opset 21"
            yield told_of_nodes(self.id, Severity.ERROR, nodes, f"`block_size` at opset {opset}", why)
