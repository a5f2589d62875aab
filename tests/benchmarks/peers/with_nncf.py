"""NNCF's post-training quantization: min-max ranges and its fast bias correction, with its defaults."""

from __future__ import annotations

import nncf
import onnx
from shared import Job, main


def quantize(job: Job) -> None:
    pictures = nncf.Dataset(job.pictures, lambda picture: {job.input: picture})
    found = nncf.quantize(onnx.load(job.model), pictures, subset_size=job.pictures.count)
    onnx.save(found, job.out)


if __name__ == "__main__":
    main(quantize, ("nncf", "onnx", "onnxruntime"))
