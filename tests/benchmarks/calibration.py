"""Calibration of YOLOv8n at 640x640 against plain float inference of the same decoded images, in turn, in one process.

Both sides have the same number of threads: inference over the cores, calibration with one sample per core. Bounds:
min-max at most 1.6 times inference, the histogram methods at most 2.6 times, everything after decoding included.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import onnxruntime as ort
from common import ROOT, Row, alternate, arguments, finish, machine, median

from qdsl import calibrate, data
from qdsl.api.planning import decide_all
from qdsl.api.prepare import prepare, read
from qdsl.diag import Report
from qdsl.graph import to_bytes

IMAGES = 100
BOUNDS = {"minmax": 1.6, "mean_minmax": 1.6, "percentile": 2.6, "entropy": 2.6, "mse": 2.6}


class Decoded:
    """A dataset that holds its samples, so that decoding counts on neither side."""

    def __init__(self, dataset: data.Dataset) -> None:
        self._dataset = dataset
        self._samples = list(dataset)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, index: int) -> data.Sample:
        return self._samples[index]


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measure


def sides(threads: int) -> Mapping[str, Callable[[], float]]:
    """Plain inference, and one calibration per method, over the same images."""
    prepared = prepare(read(ROOT / "recipes" / "yolov8n_static.q", None))
    (decided,) = decide_all(prepared, None, Report())
    tensors = [tensor.tensor for tensor in decided.plan.tensors if tensor.observe]
    known = prepared.view.tensors
    takes = {name: data.ModelInput(known[name].dtype or "float32", known[name].shape) for name in prepared.view.inputs}
    spec = replace(prepared.recipe.dataset("calib"), take=(IMAGES, 7))
    decoded: Any = Decoded(data.open(spec, prepared.recipe.inputs, takes))
    model = to_bytes(prepared.model)

    def infer() -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(model, options)
        for index in range(len(decoded)):
            session.run(None, dict(decoded.sample(index).arrays))

    def observe(method: str) -> None:
        percentile = 99.99 if method == "percentile" else None
        wanted = [calibrate.Request(tensor, method, percentile) for tensor in tensors]
        calibrate.calibrate(prepared.model, wanted, decoded, workers=threads)

    methods = {method: timed(lambda method=method: observe(method)) for method in BOUNDS}
    return {"inference": timed(infer), **methods}


def main() -> int:
    args = arguments(__doc__ or "", runs=3)
    threads = os.cpu_count() or 1
    taken = {name: median(seconds) for name, seconds in alternate(sides(threads), args.runs).items()}
    print(f"{machine()}; median of {args.runs} alternating runs, {IMAGES} images, {threads} threads on both sides")
    float_time = taken["inference"]
    print(f"  inference: {float_time:.2f} s")
    rows = [Row(f"{name} / inference", taken[name] / float_time, "x", bound) for name, bound in BOUNDS.items()]
    return finish(rows, args.check)


if __name__ == "__main__":
    sys.exit(main())
