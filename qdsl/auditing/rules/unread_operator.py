"""Operators that the target's software does not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, TENSORRT
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Form
from qdsl.graph.integer_operators import computes_in_integers
from qdsl.graph.view import NodeView
from qdsl.spec.words import count

# Domains whose operators onnxruntime brings itself; what its own optimizers write is among them.
_OF_ORT = frozenset(
    {
        "",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.experimental",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
    }
)
_DYNAMIC = "DynamicQuantizeLinear"


class Check:
    id: ClassVar[str] = "unread_operator"
    summary: ClassVar[str] = "an operator that the target's software does not read"
    explanation: ClassVar[str] = (
        "TensorRT reads Q and DQ; integer operators (QLinearConv, ConvInteger, ..) and DynamicQuantizeLinear "
        "stop its parser. ONNX Runtime reads ONNX and its own domains: what is of another one needs a library that the "
        "application registers, and nothing is known of what it computes."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (ORT, TENSORRT)

    def check(self, audited: Audited) -> Iterator[Finding]:
        told = _quantizers(audited)
        alike: dict[tuple[str, str], list[NodeView]] = {}
        for node in audited.finished.view.nodes:
            if node.name not in told and _is_unread(audited.target, node):
                alike.setdefault((node.domain, node.op), []).append(node)
        for (domain, op), nodes in alike.items():
            yield self._finding(audited, domain, op, nodes)

    def _finding(self, audited: Audited, domain: str, op: str, nodes: list[NodeView]) -> Finding:
        sure = audited.target == TENSORRT
        of = f" of {shown(domain)}" if domain else ""
        why = "TensorRT's parser stops at it: it takes quantized models as Q and DQ around operators in floats"
        return Finding(
            self.id,
            Severity.ERROR if sure else Severity.WARNING,
            Place("node", nodes[0].name),
            f"{count(len(nodes), 'node')} {shown(op)}{of}, first {shown(nodes[0].name)}, "
            + ("is what TensorRT cannot read" if sure else "is none of onnxruntime's operators"),
            why if sure else "the file loads only where the application registers a library that has it",
            also=tuple(Place("node", node.name) for node in nodes[1:]),
        )


def _is_unread(target: str, node: NodeView) -> bool:
    if target == TENSORRT:
        return computes_in_integers(node.op) or node.op == _DYNAMIC
    return node.domain not in _OF_ORT


def _quantizers(audited: Audited) -> frozenset[str]:
    """What `foreign_quantizer` tells of."""
    fakes = (record for record in audited.finished.tensors if record.form is Form.FAKE)
    return frozenset(name for record in fakes for name in (*record.quantizers, *record.dequantizers))
