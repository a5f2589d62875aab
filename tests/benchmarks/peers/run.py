"""Other quantizers on the same pictures as ours, each in an environment of its own, one at a time.

Each peer gets a virtual environment below --venvs (outside the repository; by default in the user's cache folder) and
the float model; plain inference in ONNX Runtime runs before and after it, so that a ratio stands on its own minutes. A
peer that does not install, or does not run, is reported with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import machine  # noqa: E402
from pictures import decode  # noqa: E402

SECONDS = 3600
NOT_RUN = {
    "onnxruntime": {"entropy, every picture": "not run: it keeps every tensor of every picture, over 20 GB for 100"},
}


@dataclass(frozen=True, slots=True)
class Peer:
    """One quantizer: what pip installs (and what without dependencies), its script, and its methods."""

    name: str
    script: str
    methods: tuple[str, ...]
    packages: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


PEERS = (
    Peer("onnxruntime", "with_onnxruntime.py", ("minmax", "entropy", "percentile")),
    Peer("nncf", "with_nncf.py", ("default",), ("nncf", "onnx==1.21.0", "onnxruntime==1.24.*")),
    Peer(
        "modelopt",
        "with_modelopt.py",
        ("max", "entropy"),
        # its extra [onnx] asks for CUDA builds; the CPU ones serve
        (
            *("onnx==1.21.0", "onnxruntime==1.24.*", "onnx-graphsurgeon>=0.6.1", "onnxconverter-common==1.16.*"),
            *("onnxscript", "onnxslim>=0.1.76", "polygraphy>=0.53.4", "lief", "ml_dtypes", "cppimport", "torch>=2.8"),
            *(
                "numpy",
                "nvidia-ml-py>=12",
                "packaging",
                "setuptools>=80,<82",
                "tqdm",
                "PyYAML>=6.0",
                "omegaconf>=2.3.0",
            ),
            *("pulp<4.0", "pydantic>=2.0", "regex", "rich", "safetensors", "scipy", "ninja"),
        ),
        ("nvidia-modelopt",),
    ),
    Peer("quark", "with_quark.py", ("minmax", "entropy"), ("amd-quark", "onnxruntime<=1.28.0", "torch>=2.8")),
    Peer("aimet", "with_aimet.py", ("min_max", "tf_enhanced"), ("aimet-onnx==2.42.*",)),
)


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "qdsl-peers"


def install(peer: Peer, venvs: Path) -> tuple[str, str]:
    """(interpreter, "") of the peer's environment, made where it is not yet whole; ("", reason) where that fails."""
    if not peer.packages:
        return sys.executable, ""
    folder = venvs / peer.name
    python, whole = folder / "bin" / "python", folder / "whole"
    wanted = repr((peer.packages, peer.bare))
    if whole.is_file() and whole.read_text() == wanted:
        return str(python), ""
    venv.create(folder, with_pip=True, clear=True)
    steps: list[tuple[str, ...]] = [peer.packages]
    steps += [("--no-deps", *peer.bare)] if peer.bare else []
    for step in steps:
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", *step], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return "", "did not install: " + last_line(done.stderr)
    whole.write_text(wanted)
    return str(python), ""


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "traceback")) or "Error" in line]
    return (errors or lines or ["no message"])[-1][:200]


def measured(python: str, script: str, words: Sequence[str]) -> dict[str, Any]:
    """What one run took, or {"reason": ...}."""
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES="", PYTHONWARNINGS="ignore")
    environment.pop("PYTHONPATH", None)
    command = [python, str(HERE / script), *words]
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=elsewhere, env=environment, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return {"reason": f"not finished after {SECONDS} s"}
    try:
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError):
        return {"reason": f"ended with {done.returncode}: {last_line(done.stderr + done.stdout)}"}


def compare(peer: Peer, venvs: Path, words: Sequence[str], out: Path) -> list[dict[str, Any]]:
    """One entry per method: figures and the ratio to plain inference, or the reason why there are none."""
    python, reason = install(peer, venvs)
    if reason:
        print(f"{peer.name:12} {reason}", flush=True)
        return [{"peer": peer.name, "method": method, "reason": reason} for method in peer.methods]
    rows = []
    for method in peer.methods:
        model = str(out / f"{peer.name}_{method}.onnx")
        around = [plain(words)]
        found = measured(python, peer.script, [*words, "--method", method, "--out", model])
        around.append(plain(words))
        inference = sum(around) / 2
        row = {"peer": peer.name, "method": method, "inference": inference, **found}
        if "seconds" in found:
            row |= {"ratio": found["seconds"] / inference, "model": model}
        rows.append(row)
        print(shown(row), flush=True)
    known = NOT_RUN.get(peer.name, {})
    return rows + [{"peer": peer.name, "method": method, "reason": reason} for method, reason in known.items()]


def plain(words: Sequence[str]) -> float:
    """Seconds of plain inference over the same pictures."""
    found = measured(sys.executable, "with_onnxruntime.py", [*words, "--method", "float", "--out", "none"])
    if "seconds" not in found:
        raise SystemExit(f"plain inference: {found['reason']}")
    return float(found["seconds"])


def score(rows: Sequence[dict[str, Any]], model: Path, recipe: Path) -> None:
    """Put into the rows of models that ONNX Runtime loads here their mAP50-95 (`map50_95`, float's as `float_map50_95`)
    and their speed over float on one thread (`over_float`), timed in turns."""
    from detection import evaluate, session

    held = {}
    for row in rows:
        try:
            held[row["model"]] = session(row["model"], 1)
        except KeyError:
            continue
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            row["loads"] = f"does not load: {last_line(str(error))}"
    times = in_turns({"float": session(model, 1), **held})
    true = evaluate(model, recipe, "val").map50_95
    for row in rows:
        if row.get("model") in held:
            over = [a / b for a, b in zip(times["float"], times[row["model"]], strict=True)]
            row |= {"over_float": statistics.median(over), "float_map50_95": true}
            row["map50_95"] = evaluate(row["model"], recipe, "val").map50_95
            print(f"{row['peer']:12} {row['method']:12} {row['over_float']:.2f}x, mAP50-95 {row['map50_95']:.4f}")


def in_turns(sessions: Mapping[str, Any], blocks: int = 9) -> dict[str, list[float]]:
    """Seconds of the fastest of five runs, in each of `blocks` blocks."""
    found: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(blocks):
        for name, run in sessions.items():
            given = run.get_inputs()[0]
            feed = {given.name: np.full(given.shape, 0.5, np.float32)}
            taken = []
            for _ in range(6):
                start = time.perf_counter()
                run.run(None, feed)
                taken.append(time.perf_counter() - start)
            found[name].append(min(taken[1:]))
    return found


def shown(row: dict[str, Any]) -> str:
    head = f"{row['peer']:12} {row['method']:12}"
    if "reason" in row:
        return f"{head} {row['reason']}"
    times = f"{row['seconds']:7.1f} s  {row['ratio']:5.2f} x inference  {row['cpu']:7.1f} s CPU"
    return f"{head} {times}  {row['peak_mb']:7.0f} MB  {row['versions']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venvs", type=Path, default=cache(), help="where the environments are (default %(default)s)")
    parser.add_argument("--only", nargs="*", default=[p.name for p in PEERS], help="these peers")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--model", type=Path, default=HERE.parents[2] / "examples" / "people" / "yolov8n.onnx")
    parser.add_argument("--recipe", type=Path, default=HERE.parents[2] / "recipes" / "yolov8n_static.q")
    parser.add_argument("--score", action="store_true", help="also accuracy and speed of the models in ONNX Runtime")
    parser.add_argument("--out", type=Path, default=None, help="keep the peers' models in this folder")
    parser.add_argument("--json", type=Path, default=None, help="write the figures to this file")
    args = parser.parse_args()
    os.nice(10)
    print(f"{machine()}; {args.images} pictures, nice 10")
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        pictures = decode(args.recipe, args.images, Path(temporary) / "pictures.u8")
        # A copy: Model Optimizer writes the shapes that it infers into the file that it is given.
        model = Path(shutil.copy(args.model, temporary))
        words = ["--model", str(model), "--pictures", str(pictures.path), "--count", str(pictures.count)]
        words += [
            "--input",
            pictures.input,
            "--shape",
            *map(str, pictures.shape),
            "--threads",
            str(os.cpu_count() or 1),
        ]
        rows = [row for p in PEERS if p.name in args.only for row in compare(p, args.venvs, words, out.resolve())]
        if args.score:
            score(rows, args.model, args.recipe)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
