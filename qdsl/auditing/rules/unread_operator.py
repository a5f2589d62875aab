"""Operators that the target's software does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, TENSORRT
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Form
from qdsl.graph.view import NodeView
from qdsl.predict.operators import OF_ORT, read_by_tensorrt
from qdsl.spec.words import count


class Check:
    id: ClassVar[str] = "unread_operator"
    summary: ClassVar[str] = "an operator that the target's software does not have"
    explanation: ClassVar[str] = (
        "ONNX Runtime reads ONNX and domains of its own: what is of another one needs a library that the application "
        "registers, and nothing is known of what it computes. Quantizers among them are told by `foreign_quantizer`. "
        "TensorRT's parser looks for a plugin of that name, and refuses the file where there is none (Plugin not "
        "found): so it does with what ONNX Runtime's optimizer writes, such as FusedConv. Give it the file as it was "
        "before."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (ORT, TENSORRT)

    def check(self, audited: Audited) -> Iterator[Finding]:
        told = _quantizers(audited)
        alike: dict[tuple[str, str], list[NodeView]] = {}
        for node in audited.finished.view.nodes:
            if node.name not in told and not _is_read(audited.target, node):
                alike.setdefault((node.domain, node.op), []).append(node)
        read_by = "TensorRT" if audited.target == TENSORRT else "onnxruntime"
        for (domain, op), nodes in alike.items():
            yield Finding(
                self.id,
                Severity.ERROR if audited.target == TENSORRT and domain in OF_ORT else Severity.WARNING,
                Place("node", nodes[0].name),
                f"{count(len(nodes), 'node')} {shown(op)} of {shown(domain)}, first {shown(nodes[0].name)}, is none of "
                f"{read_by}'s operators",
                "TensorRT refuses the file, unless a plugin of that name is loaded"
                if audited.target == TENSORRT
                else "the file loads only where the application registers a library that has it",
                also=tuple(Place("node", node.name) for node in nodes[1:]),
            )


def _is_read(target: str, node: NodeView) -> bool:
    """Whether the target's software has an operator; those on integers have a rule of their own for TensorRT."""
    return read_by_tensorrt(node) if target == TENSORRT else node.domain in OF_ORT


def _quantizers(audited: Audited) -> frozenset[str]:
    """What `foreign_quantizer` tells of."""
    fakes = (record for record in audited.finished.tensors if record.form is Form.FAKE)
    return frozenset(name for record in fakes for name in (*record.quantizers, *record.dequantizers))
