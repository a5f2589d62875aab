"""What `qdsl audit --fix` alone does to YOLOv8n as `quantize_static` quantizes it by its defaults: the two files in
turns, processor time of an inference on two threads.

Bounds: at most half the time, and outputs equal to the bit with every node run by itself.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from common import ROOT, Row, alternate, arguments, finish, flags, machine, median
from peers.shared import Pictures
from pictures import decode
from variants import STATIC, by_hand

import qdsl

MODEL = ROOT / "examples" / "people" / "yolov8n.onnx"
IMAGES, THREADS = 8, 2
LEVELS = ort.GraphOptimizationLevel


def session(path: Path, level: Any) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level, options.intra_op_num_threads = level, THREADS
    return ort.InferenceSession(str(path), options)


def side(path: Path, feed: dict[str, Any]) -> Callable[[], float]:
    run = session(path, LEVELS.ORT_ENABLE_ALL)

    def measure() -> float:
        start = time.process_time()
        run.run(None, feed)
        return time.process_time() - start

    return measure


def main() -> int:
    args = arguments(__doc__ or "", 30)
    print(machine(), flags(), sep="\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        decoded = decode(STATIC, IMAGES, folder / "pictures.u8")
        pictures = Pictures(decoded.path, decoded.shape, decoded.count)
        given = by_hand(MODEL, pictures, decoded.input, None, folder / "defaults.onnx")
        mended = folder / "mended.onnx"
        done = qdsl.audit(given, fix=mended).mended
        print(f"mended: {dict(done.done) if done is not None else {}}")
        feed = {decoded.input: pictures[0]}
        written = [session(path, LEVELS.ORT_DISABLE_ALL).run(None, feed) for path in (given, mended)]
        apart = sum(int((one != other).sum()) for one, other in zip(*written, strict=True))
        taken = alternate({"given": side(given, feed), "mended": side(mended, feed)}, args.runs)
    before, after = median(taken["given"]), median(taken["mended"])
    print(f"given {1000 * before:.1f} ms, mended {1000 * after:.1f} ms: {before / after:.2f}x")
    size = sum(int(np.size(each)) for each in written[0])
    rows = [Row("mended / given, processor time", after / before, "x", 0.5)]
    rows += [Row(f"values of {size:,} that differ as written", float(apart), "", 0.0)]
    return finish(rows, args.check)


if __name__ == "__main__":
    sys.exit(main())
