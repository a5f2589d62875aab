"""Weights whose scales lie along their inputs, which no integer kernel can multiply out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.carrying import reads_carried
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, TENSORRT, data_port, in_integers, standing, weights
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.auditing.weights import channel_axis
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor
from qdsl.graph.neighbours import CONVS, Weight
from qdsl.graph.view import NodeView
from qdsl.spec import Granularity

# Into kernels of ONNX Runtime whose fusion asks for types and lengths alone; that into QLinearMatMul asks for the axis.
_FUSED_BLINDLY = CONVS | {"Gemm", "FusedGemm"}


class Check:
    id: ClassVar[str] = "weights_along_inputs"
    summary: ClassVar[str] = "the scales of a weight lie along another axis than its outputs"
    explanation: ClassVar[str] = (
        "ONNX Runtime 1.32 does not read the axis where it fuses a Conv or a Gemm with as many inputs as outputs: it "
        "takes the scales for those of the outputs, and answers something else than the file says. TensorRT reads it, "
        "and computes in floats without a word (seen with TensorRT-RTX 1.7.1): a sum of integers can be scaled per "
        "output alone. That axis is 0 of the weight of a Conv, the last of one of MatMul or Gemm, and 0 with transB; "
        "where none is written, it is 1."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (ORT, TENSORRT)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node, weight in weights(audited):
            record = standing(audited).read(node, weight.port)
            if record is not None and _is_astray(audited, node, weight, record):
                yield self._told(audited, node, weight, record)

    def _told(self, audited: Audited, node: NodeView, weight: Weight, record: QuantizedTensor) -> Finding:
        on_ort = audited.target == ORT
        return Finding(
            self.id,
            Severity.ERROR if on_ort else Severity.WARNING,
            Place("node", node.name, weight.port),
            f"the weight of {shown(node.name)} has its scales along axis {record.parameters.axis}, not along its "
            "outputs",
            "onnxruntime takes them for those of the outputs: it computes something else than the file says"
            if on_ort
            else "TensorRT computes it in floats",
            fix=recipe_lines("layers {} { weights int8 symmetric per_channel }", node.name),
            origin=record.origin,
        )


def _is_astray(audited: Audited, node: NodeView, weight: Weight, record: QuantizedTensor) -> bool:
    made, seen = record.parameters, audited.finished.view.tensors.get(node.inputs[weight.port])
    if made.granularity is not Granularity.PER_CHANNEL or seen is None or seen.shape is None:
        return False
    right = channel_axis(node, weight.port, len(seen.shape))
    if right is None or made.axis in (None, right):
        return False
    if audited.target == ORT:
        return node.op in _FUSED_BLINDLY and in_integers(audited, node.name)
    # A deconvolution computes in floats whatever its axis; that nothing is written has a rule of its own.
    return node.op != "ConvTranspose" and reads_carried(audited, node, data_port(weight)) and _written(audited, record)


def _written(audited: Audited, record: QuantizedTensor) -> bool:
    view = audited.finished.view
    return all("axis" in view.node(name).attrs for name in record.dequantizers)
