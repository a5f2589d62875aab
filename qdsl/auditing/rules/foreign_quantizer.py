"""Quantizers of other tools' own making, which no runtime here has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Form
from qdsl.graph.view import NodeView
from qdsl.spec.words import count, plain


class Check:
    id: ClassVar[str] = "foreign_quantizer"
    summary: ClassVar[str] = "nodes that round floats to a grid in an operator that no runtime has"
    explanation: ClassVar[str] = (
        "`Quant` of QONNX, fake quantizers of training frameworks and the like say how a tensor is quantized, but are "
        "no operators of ONNX or of a runtime: the file does not load. Exporters have a form for runtimes beside it "
        "(QCDQ of Brevitas, `convert` of qonnx), and a recipe quantizes the float model anew."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        alike: dict[tuple[str, str], list[NodeView]] = {}
        for node in _foreign(audited):
            alike.setdefault((node.domain, node.op), []).append(node)
        for (domain, op), nodes in alike.items():
            yield Finding(
                self.id,
                Severity.ERROR,
                Place("node", nodes[0].name),
                f"{count(len(nodes), 'node')} {shown(op)} of {shown(domain)} quantize{'s' * (len(nodes) == 1)}, first "
                f"{shown(nodes[0].name)}",
                f"{plain(audited.capability.title)} has no such operator, and does not load the file"
                if audited.target == "ort"
                else "no runtime has such an operator: the file does not load",
                also=tuple(Place("node", node.name) for node in nodes[1:]),
            )


def _foreign(audited: Audited) -> Iterator[NodeView]:
    """The nodes of another domain that are quantizers, each once, in graph order."""
    view = audited.finished.view
    fakes = (record for record in audited.finished.tensors if record.form is Form.FAKE)
    names = dict.fromkeys(name for record in fakes for name in (*record.quantizers, *record.dequantizers))
    found = (view.node(name) for name in names)
    yield from sorted((node for node in found if node.domain), key=lambda node: node.index)
