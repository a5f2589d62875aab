"""How much stays in integers under a bound on the metric: NNCF's accuracy control, and recipes, on the same pictures.

YOLOX-nano may lose 1 point of mAP50-95, MobileNetV1 x0.25 may answer 5 % of the pictures otherwise than float. The
labelled COCO pictures of ../shared/testdata calibrate; those with even numbers decide what goes back into float, the
others judge. `qdsl.metrics` scores both sides (`peers/scored.py`). Integer shares are what `qdsl audit` says of the
files: the multiply-accumulates that ONNX Runtime runs in integers. Speed is processor time of one thread, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, machine
from detection import inputs_of, opened, session, truths
from PIL import Image

sys.path.insert(0, str(ROOT / "tests" / "benchmarks" / "peers"))
from real import MODELS, TESTDATA, recipe_for
from run import Peer, cache, install, measured
from scored import Scored

import qdsl
from qdsl.data.geometry import region

NNCF = Peer(
    "nncf_control", "with_nncf_control.py", ("control",), ("nncf==3.4.0", "onnx==1.23.2", "onnxruntime==1.32.0")
)
DROPS = {"yolox_nano": 0.01, "mobilenet_v1_0.25": 0.05}
LINE = "{:20} {:28} {:>9} {:>8} {:>8} {:>6} {:>9} {:>9}"


@dataclass(frozen=True, slots=True)
class Built:
    """A model file, and what it took: evaluations (None: none but those that judge it) and seconds of wall time."""

    path: Path
    seconds: float
    evaluations: int | None = None


def write_pictures(name: str, folder: Path) -> Path:
    """The pictures and what is right, as `peers/scored.py` reads them."""
    source = TESTDATA / "models" / f"{MODELS[name].file}.onnx"
    run = session(source, 1)
    held, spec = opened(recipe_for(name, "per_channel", folder), "val", inputs_of(run))
    x = np.concatenate([next(iter(sample.arrays.values())) for sample in held])
    path = folder / f"{name}.npz"
    if not MODELS[name].detects:
        (given,) = run.get_inputs()
        classes = [run.run(None, {given.name: x[n : n + 1]})[0].argmax() for n in range(len(x))]
        np.savez(path, x=x, classes=np.asarray(classes))
        return path
    found = truths(held)
    sizes = [Image.open(held.file(index)[1]).size for index in range(len(held))]
    np.savez(
        path,
        x=x,
        sizes=np.asarray(sizes),
        regions=np.asarray([tuple(region(spec.steps, height, width)) for width, height in sizes], float),
        truth_of=np.repeat(np.arange(len(found)), [len(each.classes) for each in found]),
        truth_boxes=np.concatenate([np.asarray(each.boxes, float).reshape(-1, 4) for each in found]),
        truth_labels=np.concatenate([np.asarray(each.classes, int) for each in found]),
        truth_crowd=np.concatenate([np.asarray(each.crowd, bool) for each in found]),
    )
    return path


def by_nncf(python: str, name: str, data: Path, chosen: Sequence[int], folder: Path) -> Built | str:
    """NNCF's file, or why there is none."""
    source, out = TESTDATA / "models" / f"{MODELS[name].file}.onnx", folder / f"{name}_nncf.onnx"
    words = ["--model", str(source), "--data", str(data), "--out", str(out), "--drop", str(DROPS[name])]
    found = measured(python, NNCF.script, [*words, "--chosen", *map(str, chosen)])
    if "reason" in found:
        return str(found["reason"])
    print(f"{name}: {found['versions']}, {found['pictures']} pictures looked at, {found['peak_mb']:.0f} MB", flush=True)
    return Built(out, float(found["seconds"]), int(found["evaluations"]))


def by_recipe(recipe: Path, folder: Path) -> Built:
    start = time.perf_counter()
    (target,) = qdsl.compile(recipe, out=folder / "build", lock=False, measure=False).targets
    return Built(target.emitted.model, time.perf_counter() - start)


def milliseconds(models: Mapping[str, Path], x: np.ndarray, turns: int) -> dict[str, float]:
    """Processor time of one picture on one thread: the median over turns, in each of which every model runs once."""
    sessions = {name: session(path, 1) for name, path in models.items()}
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(turns + 2):
        for name, run in sessions.items():
            start = time.thread_time()
            run.run(None, {run.get_inputs()[0].name: x})
            if turn > 1:
                taken[name].append(time.thread_time() - start)
    return {name: 1e3 * statistics.median(found) for name, found in taken.items()}


def compare(
    name: str, builds: Mapping[str, Built], data: Path, chosen: Sequence[int], turns: int
) -> list[dict[str, Any]]:
    held, source = Scored(data), TESTDATA / "models" / f"{MODELS[name].file}.onnx"
    others = [n for n in range(len(held)) if n not in set(chosen)]
    paths = {"float": source, **{kind: built.path for kind, built in builds.items()}}
    took = milliseconds(paths, held.x[:1], turns)
    rows = []
    for kind, path in paths.items():
        built = builds.get(kind)
        share = qdsl.audit(path).report.sections[0].counts.share or 0.0 if built else 0.0
        scores = [held.score(str(path), part) for part in (chosen, others, range(len(held)))]
        rows.append(
            {"model": name, "build": kind, "share": share, "scores": scores, "speedup": took["float"] / took[kind]}
            | ({} if built is None else {"seconds": built.seconds, "evaluations": built.evaluations})
        )
        print(_line(rows[-1]), flush=True)
    return rows


def _line(row: Mapping[str, Any]) -> str:
    counted = "" if row.get("evaluations") is None else str(row["evaluations"])
    scores = (f"{score:.3f}" for score in row["scores"])
    seconds = f"{row['seconds']:.0f} s" if "seconds" in row else ""
    return LINE.format(
        row["model"], row["build"], f"{row['share']:.1%}", *scores, f"{row['speedup']:.2f}x", f"{counted} {seconds}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(DROPS), choices=list(DROPS))
    parser.add_argument("--recipes", nargs="*", type=Path, default=[], help="recipes of one of the models, beside ours")
    parser.add_argument("--venvs", type=Path, default=cache(), help="where NNCF's environment is made")
    parser.add_argument("--python", help="an interpreter that has NNCF already")
    parser.add_argument("--made", type=Path, help="a folder with NNCF's files, MODEL_nncf.onnx, instead of making them")
    parser.add_argument("--turns", type=int, default=30)
    args = parser.parse_args()
    if not TESTDATA.is_dir():
        print(f"no real models: {TESTDATA} is not here")
        return 0
    print(machine(), f"load {os.getloadavg()[0]:.1f}")
    python, reason = (args.python, "") if args.python or args.made else install(NNCF, args.venvs)
    print(LINE.format("model", "build", "integers", "chosen", "others", "all", "speed", "took"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in args.models:
            data = write_pictures(name, folder)
            chosen = range(0, len(Scored(data)), 2)
            builds: dict[str, Built] = {}
            own = ROOT / "tests" / "recipes" / f"{MODELS[name].recipe}.q"
            for recipe in (own, *(path for path in args.recipes if name.partition("_")[0] in path.stem)):
                builds[recipe.stem] = by_recipe(recipe, folder)
            found: Built | str = reason
            if args.made:
                found = Built(args.made / f"{name}_nncf.onnx", 0.0)
            elif not reason:
                found = by_nncf(str(python), name, data, chosen, folder)
            if isinstance(found, Built):
                builds["NNCF accuracy control"] = found
            else:
                print(f"{name}: NNCF is left out: {found}")
            compare(name, builds, data, chosen, args.turns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
