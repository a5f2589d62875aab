"""An int32 bias in other steps than those of the products that it is added to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, prediction, standing
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor, Role
from qdsl.graph.view import NodeView

# What ONNX Runtime allows a Conv before it leaves it in float.
_TOLERANCE = 0.01
_OPS = frozenset({"Conv", "ConvTranspose", "Gemm"})
_BIAS = 2


class Check:
    id: ClassVar[str] = "bias_scale_mismatch"
    summary: ClassVar[str] = "an int32 bias is not in steps of input scale times weight scale"
    explanation: ClassVar[str] = (
        "ONNX Runtime leaves a Conv in float whose bias is off by more than 1 %; of a Gemm it asks nothing, and adds "
        "integers that mean something else. An integer kernel adds the integers of the bias to those of the products, "
        "whose step is the scale of the input times that of the weight. Such a file comes from a tool that changed "
        "one of the three scales and not the others."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in audited.finished.tensors:
            if record.role is not Role.BIAS or record.parameters.element != "int32":
                continue
            for reader in record.readers:
                node = audited.finished.view.node(reader.node) if reader.node else None
                if node is not None and node.op in _OPS and reader.port == _BIAS:
                    yield from self._checked(audited, node, record)

    def _checked(self, audited: Audited, node: NodeView, record: QuantizedTensor) -> Iterator[Finding]:
        off = _off(audited, node, record)
        if off is None or abs(off - 1) <= _TOLERANCE:
            return
        found = prediction(audited, node.name) if audited.target == ORT else None
        added = node.op == "Gemm" and found is not None and found.runs == "integer"
        why = (
            "the kernel adds integers that stand for something else than the file says"
            if added
            else "no integer kernel takes it: the node runs in float, on dequantized values"
        )
        yield Finding(
            self.id,
            Severity.ERROR if added else Severity.WARNING,
            Place("node", node.name, _BIAS),
            f"the bias of {shown(node.name)} is in steps {_times(off)} those of its products",
            why,
            fix=Fix(rewrite="float_bias", exact=True),
            origin=record.origin,
        )


def _off(audited: Audited, node: NodeView, bias: QuantizedTensor) -> float | None:
    """The scale of the bias over that of the products, in the channel where it is furthest from 1; None where one of
    the scales is computed, or they are not of one length."""
    stands = standing(audited)
    data, weight = stands.read(node, 0), stands.read(node, 1)
    if data is None or weight is None:
        return None
    scales = [each.parameters.scale for each in (bias, data, weight)]
    if any(scale is None or not scale.size or not (scale > 0).all() for scale in scales):
        return None
    own, first, second = (np.asarray(scale, np.float64).reshape(-1) for scale in scales)
    if first.size != 1 or len({own.size, second.size} - {1}) > 1:
        return None
    quotient = own / (first * second)
    if not (np.isfinite(quotient) & (quotient > 0)).all():  # past what floats hold: the scales are told as faults
        return None
    return float(quotient[np.argmax(np.abs(np.log(quotient)))])


def _times(off: float) -> str:
    return f"{off:.3g} times" if off >= 1 else f"1/{1 / off:.3g} of"
