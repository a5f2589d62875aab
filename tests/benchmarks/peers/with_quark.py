"""AMD Quark: uint8 activations, int8 weights per channel. Methods: minmax, entropy."""

from __future__ import annotations

from quark.onnx import ModelQuantizer
from quark.onnx.quantization.config.config import QConfig
from quark.onnx.quantization.config.spec import CalibMethod, Int8Spec, QLayerConfig, QuantGranularity, UInt8Spec
from shared import Job, Reader, main

METHODS = {"minmax": CalibMethod.MinMax, "entropy": CalibMethod.Entropy}


def quantize(job: Job) -> None:
    layer = QLayerConfig(
        activation=UInt8Spec(calibration_method=METHODS[job.method]),
        weight=Int8Spec(quant_granularity=QuantGranularity.Channel),
    )
    ModelQuantizer(QConfig(layer)).quantize_model(job.model, job.out, Reader(job.input, job.pictures))


if __name__ == "__main__":
    main(quantize, ("amd-quark", "onnx", "onnxruntime"))
