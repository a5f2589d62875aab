"""One picture through `qdsl.train.Executor` on one thread: forward, and forward with gradients by every weight, in
turn with ONNX Runtime's forward (no optimisations, and all of them). Processor time; needs torch and
`../shared/testdata`.

    python tests/benchmarks/gradients.py --runs 5
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from common import ROOT, alternate, arguments, flags, machine, median

from qdsl.graph import load
from qdsl.train import Executor

FOLDER = ROOT.parent / "shared" / "testdata" / "models"
MODELS = {
    "mobilenet_v1_0.25": (FOLDER / "mobilenet_v1_0.25_224_imagenet_float.onnx", 1),
    "yolox_nano": (FOLDER / "yolox_nano.onnx", 255),
    "yolov8n": (ROOT / "examples" / "people" / "yolov8n.onnx", 1),
    "mlperf_vww_96 int8": (FOLDER / "mlperf_vww_96_int8_qdq.onnx", 1),
}
_LEVELS = {
    "runtime, as written": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "runtime, optimized": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def timed(side: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        start = time.process_time()
        side()
        return time.process_time() - start

    return measure


def sides(name: str) -> dict[str, Callable[[], float]]:
    """What is timed of one model, on the same input."""
    path, largest = MODELS[name]
    found = {}
    sessions = []
    for what, level in _LEVELS.items():
        options = ort.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = level, 1
        sessions.append(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        found[what] = sessions[-1]
    one = sessions[0].get_inputs()[0]
    shape = [dim if isinstance(dim, int) else 1 for dim in one.shape]
    x = np.random.default_rng(0).random(shape, np.float32) * largest
    feeds = {one.name: x if "float" in one.type else (x * 100).astype(np.int8)}
    executor = Executor(load(path))

    def forward() -> dict[str, Any]:
        executor.differentiable(())
        return executor.run(feeds)

    def with_gradients() -> None:
        executor.differentiable(name for name, value in executor.parameters.items() if value.dim() > 1)
        sum((y.float() ** 2).sum() for y in executor.run(feeds).values()).backward()

    made = {what: timed(lambda session=session: session.run(None, feeds)) for what, session in found.items()}
    made["executor, forward"] = timed(forward)
    if "int8" not in name:  # its weights are stored as integers, which have no gradient
        made["executor, with gradients"] = timed(with_gradients)
    return made


def main() -> int:
    args = arguments(__doc__ or "", 5)
    torch.set_num_threads(1)
    print(f"{machine()}, torch {torch.__version__}\n{flags()}")
    print(
        "| model, ms of one picture | " + " | ".join((*_LEVELS, "executor, forward", "executor, with gradients")) + " |"
    )
    print("| --- |" + " --- |" * 4)
    for name in MODELS:
        taken = alternate(sides(name), args.runs)
        cells = [f"{1e3 * median(seconds):.1f}" for seconds in taken.values()]
        print(f"| {name} | " + " | ".join([*cells, ""][:4]) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
