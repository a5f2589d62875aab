"""Two pairs in a row on one tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import DEQUANTIZERS, ORT, QUANTIZERS, standing
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Form, QuantizedTensor
from qdsl.graph.view import NodeView

_OWN_SOURCE = frozenset({Form.LONE_DEQUANTIZE, Form.OPERATOR})


class Check:
    id: ClassVar[str] = "doubled_pair"
    summary: ClassVar[str] = "two pairs in a row on one tensor"
    explanation: ClassVar[str] = (
        "What one pair rounds the next one rounds again. With equal scale and zero point nothing changes, and the "
        "second pair is only work. With others a value is rounded twice, to two grids: ONNX Runtime makes one pair of "
        "the two, TensorRT keeps both. A pair of another type behind the first is how quantizers change the width of "
        "a tensor."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        at = standing(audited).at
        for node in audited.finished.view.nodes:
            before = _pair_before(audited, node)
            if before is None:
                continue
            second = at.get(node.name)
            if second is not None:
                yield self._finding(audited, node, before, second)

    def _finding(self, audited: Audited, node: NodeView, first: QuantizedTensor, second: QuantizedTensor) -> Finding:
        equal = first.parameters.key == second.parameters.key
        where = f"{shown(node.name)} quantizes what a pair on {shown(first.tensor)} has just rounded"
        severity, message, why = _told(audited, first, second, equal=equal)
        return Finding(
            self.id,
            severity,
            Place("node", node.name),
            f"{where}, {message}",
            why,
            also=tuple(Place("node", name) for name in (*first.quantizers, *first.dequantizers)),
            fix=Fix(rewrite="redundant_pairs", exact=True) if equal and second.parameters.gives_back else None,
            origin=second.origin,
        )


def _pair_before(audited: Audited, node: NodeView) -> QuantizedTensor | None:
    """The pair whose DequantizeLinear alone stands before the QuantizeLinear `node`."""
    view = audited.finished.view
    before = view.producer(node.inputs[0]) if node.op in QUANTIZERS and node.inputs else None
    if before is None or before.op not in DEQUANTIZERS:
        return None
    found = standing(audited).at.get(before.name)
    return None if found is None or found.form in _OWN_SOURCE else found


def _told(
    audited: Audited, first: QuantizedTensor, second: QuantizedTensor, *, equal: bool
) -> tuple[Severity, str, str]:
    one, other = first.parameters, second.parameters
    if equal:
        why = "onnxruntime removes the second one, others run it" if audited.target == ORT else "it rounds for nothing"
        return Severity.WARNING, "with the same scale and zero point", why
    if one.element != other.element:
        why = "a change of width costs both pairs, and the narrower one decides what is left"
        return Severity.NOTE, f"from {one.element} to {other.element}", why
    why = "values are rounded to two grids, where one would do"
    if audited.target == ORT:
        why += "; onnxruntime makes one pair of the two, which does not compute what the file says"
    return Severity.WARNING, "with another scale or zero point", why
