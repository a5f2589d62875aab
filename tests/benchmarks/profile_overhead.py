"""What profiling adds to a bare loop: both time the same model, block by block in turns.

Bound: the median run that `qdsl.harness.profile` finds is within 3 % of that of a loop around `InferenceSession.run`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import onnxruntime as ort
from common import ROOT, Row, finish, machine

from qdsl.harness.bench import Worker

MODEL = ROOT / "examples" / "people" / "yolov8n.onnx"
WITHIN = 0.03


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--runs", type=int, default=10, help="runs per block")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit 1 when the bound is broken")
    args = parser.parse_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    session = ort.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((4, 3, 640, 640), dtype=np.float32)
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, images=images[:, None])
        with Worker("float", MODEL, inputs, {}, {"threads": args.threads, "warmup": 5}) as worker:
            for at in range(args.blocks * args.runs):
                if at % args.runs == 0:
                    worker.run(args.runs)
                start = time.perf_counter()
                session.run(None, {"images": images[at % 4 : at % 4 + 1]})
                bare.append(time.perf_counter() - start)
            ours = statistics.median(worker.seconds)
    print(machine())
    print(f"bare loop {1e3 * statistics.median(bare):.2f} ms, profile {1e3 * ours:.2f} ms")
    apart = abs(ours / statistics.median(bare) - 1)
    return finish([Row("profile's median run against a bare loop's, apart", apart, "", WITHIN)], args.check)


if __name__ == "__main__":
    sys.exit(main())
