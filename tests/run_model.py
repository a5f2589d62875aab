"""`python run_model.py MODEL INPUTS.npy OUT.npz`: what a model of one input writes for each row of the inputs.

Runs under emulated processors, too: numpy and onnxruntime are all it needs.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime as ort


def main(model: str, inputs: str, out: str) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (taken,) = (info.name for info in session.get_inputs())
    names = [info.name for info in session.get_outputs()]
    runs = [session.run(names, {taken: row[None]}) for row in np.load(inputs)]
    np.savez(out, **{name: np.concatenate(column) for name, column in zip(names, zip(*runs, strict=True), strict=True)})


if __name__ == "__main__":
    main(*sys.argv[1:])
