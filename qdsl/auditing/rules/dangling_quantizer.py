"""A QuantizeLinear whose integers nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, QUANTIZERS, runs_in_floats, standing, unread
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.graph.view import NodeView


class Check:
    id: ClassVar[str] = "dangling_quantizer"
    summary: ClassVar[str] = "a QuantizeLinear whose integers nobody reads"
    explanation: ClassVar[str] = (
        "No runtime removes it: it runs at every inference. ONNX Runtime fuses a Conv, an Add and the like only where "
        "one QuantizeLinear alone reads what they write, so that a second one, read or not, leaves the node in floats."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        view = audited.finished.view
        for node in view.nodes:
            if node.op in QUANTIZERS and unread(view, node):
                yield self._finding(audited, node)

    def _finding(self, audited: Audited, node: NodeView) -> Finding:
        record = standing(audited).at.get(node.name)
        return Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name),
            f"nobody reads what {shown(node.name)} quantizes",
            _why(audited, node),
            fix=Fix(rewrite="dangling_nodes", exact=True),
            origin=record.origin if record is not None else "",
        )


def _why(audited: Audited, node: NodeView) -> str:
    writer = audited.finished.view.producer(node.inputs[0])
    if writer is not None and audited.target == ORT and runs_in_floats(audited, writer.name):
        return f"it runs at every inference, and {shown(writer.name)}, whose result has another reader now, in floats"
    return "it runs at every inference, and may keep what writes its input from an integer kernel"
