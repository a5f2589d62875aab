"""A QuantizeLinear whose integers nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, QUANTIZERS, row_of, runs_in_floats, standing, unread
from qdsl.auditing.telling import listed, shown
from qdsl.capability import ABSORBED
from qdsl.diag import Severity
from qdsl.graph.view import NodeView


class Check:
    id: ClassVar[str] = "dangling_quantizer"
    summary: ClassVar[str] = "a QuantizeLinear whose integers nobody reads"
    explanation: ClassVar[str] = (
        "It runs at every inference, unless it is equal to another on the tensor. ONNX Runtime fuses a Conv, an Add "
        "and the like only where one QuantizeLinear alone reads what they write: a second one, read or not, leaves the "
        "node in floats."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        view = audited.finished.view
        for node in view.nodes:
            if node.op in QUANTIZERS and unread(view, node):
                yield self._finding(audited, node)

    def _finding(self, audited: Audited, node: NodeView) -> Finding:
        record, lost = standing(audited).at.get(node.name), _lost(audited, node)
        why = "it runs at every inference, and may keep what writes its input from an integer kernel"
        if lost:
            why = f"it runs at every inference, and {listed(lost)}, whose result has one more reader by it, in floats"
        return Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name),
            f"nobody reads what {shown(node.name)} quantizes",
            why,
            also=tuple(Place("node", name) for name in lost),
            fix=Fix(rewrite="dangling_nodes", exact=True),
            origin=record.origin if record is not None else "",
        )


def _lost(audited: Audited, node: NodeView) -> list[str]:
    """What writes the tensor and runs in floats: a Relu, and what it would be part of."""
    view = audited.finished.view
    writer = view.producer(node.inputs[0])
    if audited.target != ORT or writer is None or not runs_in_floats(audited, writer.name):
        return []
    before = view.producer(writer.inputs[0]) if row_of(audited, writer).kind == ABSORBED else None
    inner = before is not None and runs_in_floats(audited, before.name)
    return [before.name, writer.name] if before is not None and inner else [writer.name]
