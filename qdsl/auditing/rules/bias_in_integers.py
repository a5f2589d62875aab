"""Biases of int32, which TensorRT does not dequantize."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "bias_in_integers"
    summary: ClassVar[str] = "a bias is stored as int32"
    explanation: ClassVar[str] = (
        "TensorRT's parser refuses the file: its DequantizeLinear takes int8, int4, float8 and float4 (only "
        "activation datatypes allowed as input). YOLOv8n by onnxruntime's quantizer is refused for its 63 int32 "
        "biases; with floats in their place all 64 convolutions run in int8. onnxruntime's quantizer leaves them in "
        "floats with QuantizeBias=False."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in audited.finished.tensors:
            if record.parameters.element != "int32" or not record.dequantizers:
                continue
            reader = next((each for each in record.readers if each.node), None)
            place = Place("node", record.dequantizers[0]) if reader is None else Place("node", reader.node, reader.port)
            yield Finding(
                self.id,
                Severity.ERROR,
                place,
                f"the bias of {shown(place.name)} is stored as int32",
                "TensorRT refuses the file: it dequantizes no int32",
                fix=Fix(rewrite="float_bias", exact=True),
                origin=record.origin,
            )
