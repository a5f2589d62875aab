"""QuantizeLinear and DequantizeLinear of ONNX Runtime's own domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import of_onnx, pair_nodes
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.spec.words import count


class Check:
    id: ClassVar[str] = "quantizers_of_onnxruntime"
    summary: ClassVar[str] = "Q and DQ of com.microsoft, which only some parsers read"
    explanation: ClassVar[str] = (
        "They are ONNX Runtime's own, for types that older opsets of ONNX do not have. TensorRT-RTX 1.7.1 goes by the "
        "name of an operator alone, and takes them; checkers and other runtimes do not. With int8 they are the same as "
        "those of ONNX."
    )
    severity: ClassVar[Severity] = Severity.NOTE
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        nodes = [node for node, _ in pair_nodes(audited) if not of_onnx(node)]
        if nodes:
            yield Finding(
                self.id,
                Severity.NOTE,
                Place("node", nodes[0].name),
                f"{count(len(nodes), 'QuantizeLinear or DequantizeLinear', 'QuantizeLinear and DequantizeLinear')} of "
                f"{shown(nodes[0].domain)}",
                "TensorRT's parser takes them by name; those of ONNX are the same",
                also=tuple(Place("node", node.name) for node in nodes[1:]),
                fix=Fix(rewrite="onnx_quantizers", exact=True),
            )
