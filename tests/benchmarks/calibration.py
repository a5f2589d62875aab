"""Calibration of YOLOv8n at 640x640 against plain float inference of the same decoded pictures.

Every side is a process of its own, in turn, over one file of decoded pictures and with the same number of threads:
inference over the cores, calibration with one picture per core. Timed is all from the model in memory to the ranges;
"to a file" is all from the recipe to the quantized model. Bounds: min-max at most 1.6 times inference, the histogram
methods at most 2.6 times, peak memory at most inference and 300 MB, and the same for 50 pictures as for 300.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT, Row, finish, machine, median
from peers.shared import Pictures, peak_mb

MINMAX, HISTOGRAM, MEMORY, FLAT = 1.6, 2.6, 300.0, 50.0
BOUNDS = {"minmax": MINMAX, "mean_minmax": MINMAX, "percentile": HISTOGRAM, "entropy": HISTOGRAM, "mse": HISTOGRAM}
RECIPE = ROOT / "recipes" / "yolov8n_static.q"


@dataclass(frozen=True, slots=True)
class FromFile:
    """Reads samples from the file of decoded pictures."""

    pictures: Pictures
    input: str
    flat: frozenset[int] = frozenset()  # no picture of one colour

    def arrays(self, index: int) -> Mapping[str, Any]:
        return {self.input: self.pictures[index]}

    def file(self, index: int) -> tuple[str, Path]:
        return self.pictures.path.name, self.pictures.path


def observe(method: str, pictures: Pictures, threads: int) -> dict[str, float]:
    """Seconds of calibration alone, and of everything from the recipe to the quantized model."""
    from qdsl import calibrate, data
    from qdsl.diag import Diagnostics
    from qdsl.graph import to_bytes
    from qdsl.targets.ort.emit import quantize
    from qdsl.work.deciding import decide_all
    from qdsl.work.prepared import prepare, read

    start = time.perf_counter()
    prepared = prepare(read(RECIPE, None))
    (decided,) = decide_all(prepared, None, Diagnostics())
    (name,) = prepared.view.inputs
    ids = tuple(str(index) for index in range(pictures.count))
    reader: Any = FromFile(pictures, name)
    held = data.Dataset("calib", "yolo", ids, pictures.count, (), (), reader)
    percentile = 99.99 if method == "percentile" else None
    wanted = [calibrate.Request(t.tensor, method, percentile) for t in decided.plan.tensors if t.observe]
    before = time.perf_counter()
    ranges = calibrate.calibrate(prepared.model, wanted, held, workers=threads)
    seconds = time.perf_counter() - before
    quantized, *_ = quantize(prepared.model, decided.plan, ranges)
    to_bytes(quantized)
    return {"seconds": seconds, "to_file": time.perf_counter() - start}


def infer(pictures: Pictures, threads: int) -> dict[str, float]:
    """Seconds of plain inference of the float model, session included."""
    import onnxruntime as ort

    model = str(ROOT / "examples" / "people" / "yolov8n.onnx")
    start = time.perf_counter()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    run = ort.InferenceSession(model, options)
    (name,) = (i.name for i in run.get_inputs())
    for picture in pictures:
        run.run(None, {name: picture})
    return {"seconds": time.perf_counter() - start}


def side(words: Sequence[str]) -> None:
    """What a child process does."""
    what, path, count, threads, *shape = words
    pictures = Pictures(Path(path), tuple(map(int, shape)), int(count))
    before = os.times()
    found = infer(pictures, int(threads)) if what == "float" else observe(what, pictures, int(threads))
    cpu = sum(os.times()[:2]) - sum(before[:2])
    print(json.dumps({**found, "cpu": cpu, "peak_mb": peak_mb()}))


def child(what: str, pictures: Pictures, count: int, threads: int) -> dict[str, float]:
    words = [what, str(pictures.path), str(count), str(threads), *map(str, pictures.shape)]
    command = [sys.executable, str(Path(__file__).resolve()), "--side", *words]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{what}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True, slots=True)
class Side:
    """Medians of one side: seconds, seconds to a written model, seconds of CPU, MB at the peak; the ratio to inference
    is the median of ratios to the inference just before."""

    seconds: float
    to_file: float
    cpu: float
    peak_mb: float
    ratio: float


def run(images: int, runs: int, methods: Sequence[str], threads: int) -> dict[str, Any]:
    """`sides`: Side by method, `float` included; `flat`: MB at the peak by method and number of pictures."""
    from pictures import decode

    with tempfile.TemporaryDirectory() as temporary:
        made = decode(RECIPE, images, Path(temporary) / "pictures.u8")
        pictures = Pictures(made.path, made.shape, made.count)
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in ("float", *methods)}
        for _ in range(runs):
            for method in methods:
                before = child("float", pictures, images, threads)
                found = child(method, pictures, images, threads)
                after = child("float", pictures, images, threads)
                taken["float"] += [before, after]
                found["ratio"] = 2 * found["seconds"] / (before["seconds"] + after["seconds"])
                taken[method].append(found)
        few = min(50, images // 2)
        flat = {method: child(method, pictures, few, threads)["peak_mb"] for method in methods}
    sides = {name: _medians(found) for name, found in taken.items()}
    return {"images": images, "threads": threads, "runs": runs, "sides": sides, "few": few, "few_mb": flat}


def _medians(found: Sequence[Mapping[str, float]]) -> Side:
    def middle(key: str, default: float) -> float:
        return median([each.get(key, default) for each in found])

    seconds = middle("seconds", 0.0)
    return Side(seconds, middle("to_file", seconds), middle("cpu", 0.0), middle("peak_mb", 0.0), middle("ratio", 1.0))


def rows(found: Mapping[str, Any]) -> list[Row]:
    """The figures that have bounds."""
    sides: Mapping[str, Side] = found["sides"]
    methods = [name for name in sides if name != "float"]
    table = [Row(f"{name} / inference", sides[name].ratio, "x", BOUNDS[name]) for name in methods]
    for name in methods:
        table.append(Row(f"{name}, peak above inference", sides[name].peak_mb - sides["float"].peak_mb, "MB", MEMORY))
        grown = sides[name].peak_mb - found["few_mb"][name]
        table.append(Row(f"{name}, peak above that of {found['few']} pictures", grown, "MB", FLAT))
    return table


def main() -> int:
    if sys.argv[1:2] == ["--side"]:
        side(sys.argv[2:])
        return 0
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each method (default 3)")
    parser.add_argument("--methods", nargs="*", default=list(BOUNDS), choices=list(BOUNDS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="24 pictures, one run, minmax and entropy")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is broken")
    args = parser.parse_args()
    if args.quick:
        args.images, args.runs, args.methods = 24, 1, ["minmax", "entropy"]
    found = run(args.images, args.runs, args.methods, args.threads)
    print(f"{machine()}; {args.images} pictures, {args.threads} threads on both sides, median of {args.runs} runs")
    for name, one in found["sides"].items():
        print(
            f"  {name:12} {one.seconds:7.2f} s  {one.ratio:5.2f} x  {one.cpu:7.2f} s CPU  {one.peak_mb:6.0f} MB  "
            f"recipe to model {one.to_file:7.2f} s"
        )
    return finish(rows(found), args.check)


if __name__ == "__main__":
    sys.exit(main())
