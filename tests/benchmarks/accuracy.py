"""Accuracy of YOLOv8n's quantized builds on the example's validation pictures, by pycocotools.

Bound: `yolov8n_static` loses at most 0.005 mAP50-95 of float. Beside it the settings of tutorials
(`yolov8n_study.q`) and `quantize_static`, as it comes and set by hand, calibrated on the same pictures.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import ROOT, Row, finish, machine
from detection import Accuracy, evaluate
from variants import STATIC, build

LOSS = 0.005


def run(model: Path, images: int, wanted: str, folder: Path, threads: int) -> dict[str, dict[str, Any]]:
    """By build: its `model` file, and its `accuracy`."""
    found: dict[str, dict[str, Any]] = {}
    for name, path in build(model.resolve(), images, folder, wanted):
        accuracy = evaluate(path, STATIC, "val", threads)
        found[name] = {"model": path, "accuracy": accuracy}
        print(f"  {name:52} {accuracy}", flush=True)
    return found


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    def score(name: str) -> float:
        accuracy: Accuracy = found[name]["accuracy"]
        return accuracy.map50_95

    return [Row(f"{STATIC.stem}, mAP50-95 below float", score("float") - score(STATIC.stem), "", LOSS)]


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "examples" / "people" / "yolov8n.onnx")
    parser.add_argument("--images", type=int, default=300, help="calibration pictures (default 300)")
    parser.add_argument("--builds", choices=("ours", "few", "all"), default="all")
    parser.add_argument("--out", type=Path, default=None, help="keep the builds in this folder")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="32 calibration pictures, few builds")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is broken")
    args = parser.parse_args()
    if args.quick:
        args.images, args.builds = 32, "few"
    print(f"{machine()}; {args.model}, {args.images} calibration pictures")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(args.model, args.images, args.builds, folder.resolve(), args.threads)
    return finish(rows(found), args.check)


if __name__ == "__main__":
    sys.exit(main())
