"""`quantize_static` of ONNX Runtime. Methods: minmax, entropy, percentile; or `float`, plain inference.

The histogram methods keep every tensor of every picture; a stride of 10 pictures bounds that (about 4 GB here).
"""

from __future__ import annotations

import onnxruntime as ort
from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static
from shared import Job, Reader, main

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


def infer(job: Job) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    run = ort.InferenceSession(job.model, options)
    for picture in job.pictures:
        run.run(None, {job.input: picture})


def quantize(job: Job) -> None:
    if job.method == "float":
        infer(job)
        return
    reader, options = Reader(job.input, job.pictures), {}
    if job.method != "minmax":
        options["CalibStridedMinMax"] = 10
    quantize_static(
        job.model,
        job.out,
        reader,
        quant_format=QuantFormat.QDQ,
        calibrate_method=METHODS[job.method],
        extra_options=options,
    )


if __name__ == "__main__":
    main(quantize, ("onnxruntime", "onnx", "numpy"))
