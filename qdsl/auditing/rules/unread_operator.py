"""Operators that the target's software does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Form
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


class Check:
    id: ClassVar[str] = "unread_operator"
    summary: ClassVar[str] = "an operator that the target's software does not have"
    explanation: ClassVar[str] = (
        "ONNX Runtime reads ONNX and domains of its own: what is of another one needs a library that the application "
        "registers, and nothing is known of what it computes. Quantizers among them are told by `foreign_quantizer`."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        told = _quantizers(audited)
        alike: dict[tuple[str, str], list[NodeView]] = {}
        for node in audited.finished.view.nodes:
            if node.name not in told and node.domain not in _OF_ORT:
                alike.setdefault((node.domain, node.op), []).append(node)
        for (domain, op), nodes in alike.items():
            yield Finding(
                self.id,
                Severity.WARNING,
                Place("node", nodes[0].name),
                f"{count(len(nodes), 'node')} {shown(op)} of {shown(domain)}, first {shown(nodes[0].name)}, is none of "
                "onnxruntime's operators",
                "the file loads only where the application registers a library that has it",
                also=tuple(Place("node", node.name) for node in nodes[1:]),
            )


def _quantizers(audited: Audited) -> frozenset[str]:
    """What `foreign_quantizer` tells of."""
    fakes = (record for record in audited.finished.tensors if record.form is Form.FAKE)
    return frozenset(name for record in fakes for name in (*record.quantizers, *record.dequantizers))
