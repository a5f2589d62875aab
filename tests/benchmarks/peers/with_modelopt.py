"""TensorRT Model Optimizer on the CPU. Methods: max, entropy."""

from __future__ import annotations

from modelopt.onnx.quantization import quantize as modelopt_quantize
from shared import Job, Reader, main


def quantize(job: Job) -> None:
    modelopt_quantize(
        job.model,
        quantize_mode="int8",
        calibration_method=job.method,
        calibration_data_reader=Reader(job.input, job.pictures),
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=job.out,
    )


if __name__ == "__main__":
    main(quantize, ("nvidia-modelopt", "onnx", "onnxruntime"))
