"""Two QuantizeLinear nodes side by side on what a node writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, behind_activation, reason, standing, unread
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor
from qdsl.graph.view import GraphView, NodeView
from qdsl.spec.words import count

_LOST_BY_IT = frozenset({"output_twice", "output_float"})


class Check:
    id: ClassVar[str] = "quantized_twice"
    summary: ClassVar[str] = "a result is quantized to two grids, side by side"
    explanation: ClassVar[str] = (
        "An integer kernel writes one tensor of integers. With two QuantizeLinear nodes of other scales, zero points "
        "or types behind it, each for some of the readers, ONNX Runtime computes the node in floats. One pair for all "
        "readers, or a second pair behind the first, keeps the kernel."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node in audited.finished.view.nodes:
            if node.outputs and reason(audited, node.name) in _LOST_BY_IT:
                yield from self._twice(audited, node)

    def _twice(self, audited: Audited, node: NodeView) -> Iterator[Finding]:
        tensor = behind_activation(audited, node)
        view = audited.finished.view
        records = [each for each in standing(audited).writes.get(tensor, ()) if _is_read(view, each)]
        if len({each.parameters.key for each in records}) < 2:
            return
        quantizers = [name for each in records for name in each.quantizers]
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name),
            f"what {shown(node.name)} writes is quantized in {count(len(records), 'way')}, side by side",
            "it computes in floats: its integer kernel writes integers of one scale",
            also=tuple(Place("node", name) for name in quantizers),
            origin=records[0].origin,
        )


def _is_read(view: GraphView, record: QuantizedTensor) -> bool:
    """Whether anything reads the integers: `dangling_quantizer` tells of the others."""
    return not all(unread(view, view.node(name)) for name in record.quantizers)
