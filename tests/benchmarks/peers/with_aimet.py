"""AIMET: int8 weights and activations, its default configuration. Methods: min_max, tf_enhanced (a histogram)."""

from __future__ import annotations

import onnx
from aimet_onnx import QuantizationSimModel, int8
from shared import Job, main


def quantize(job: Job) -> None:
    sim = QuantizationSimModel(
        onnx.load(job.model),
        param_type=int8,
        activation_type=int8,
        quant_scheme=job.method,
        providers=["CPUExecutionProvider"],
    )
    sim.compute_encodings({job.input: picture} for picture in job.pictures)
    onnx.save(sim.to_onnx_qdq(), job.out)


if __name__ == "__main__":
    main(quantize, ("aimet-onnx", "onnx", "onnxruntime"))
