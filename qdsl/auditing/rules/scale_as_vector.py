"""Scales of one element that are written as a vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import DEQUANTIZE, pair_nodes
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Role
from qdsl.spec import Granularity

_SCALE = 1


class Check:
    id: ClassVar[str] = "scale_as_vector"
    summary: ClassVar[str] = "the one scale of an activation is a vector of one element"
    explanation: ClassVar[str] = (
        "TensorRT takes it for a scale per channel, and computes in float behind the DequantizeLinear without a word "
        "(seen with TensorRT-RTX 1.7.1, whatever the axis and the number of channels). ONNX means one scale by it. Of "
        "a QuantizeLinear and of a weight it makes no difference."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        view = audited.finished.view
        for node, record in pair_nodes(audited):
            scale = view.tensors.get(node.inputs[_SCALE]) if len(node.inputs) > _SCALE else None
            one = record.role is Role.ACTIVATION and record.parameters.granularity is Granularity.PER_TENSOR
            if node.op != DEQUANTIZE or not one or scale is None or scale.shape != (1,):
                continue
            readers = dict.fromkeys(each.name for each in view.consumers(node.outputs[0]))
            yield Finding(
                self.id,
                Severity.WARNING,
                Place("node", node.name),
                f"the scale of {shown(node.name)} is a vector of one element",
                "TensorRT takes it for a scale per channel, and computes what reads it in float",
                also=tuple(Place("node", name) for name in readers),
                fix=Fix(rewrite="scalar_scales", exact=True),
                origin=record.origin,
            )
