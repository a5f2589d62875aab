"""A whole `qdsl compile` by this tree in turn with one by another revision of the repository, and what both measure.

    python tests/benchmarks/revisions.py HEAD~20 recipes/steel_default.q --runs 3

The revision is unpacked from git into a temporary folder and compiles its own copy of the recipe. Wall time is what one
waits; processor time is steadier on a busy machine. Ends with 1 where both find other accuracies.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT, machine, median


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of one compile, and the figures that its `evaluate` statements found."""

    wall: float
    processor: float
    scores: Any


def unpacked(revision: str, folder: Path) -> Path:
    done = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"git has no revision {revision}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def compiled(tree: Path, recipe: str, extra: list[str]) -> Run:
    """One compile in a fresh folder, by the code in `tree`."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "qdsl", "compile", recipe, "--no-lock", "--out", out, *extra]
        start, before = time.perf_counter(), os.times()
        environment = os.environ | {"PYTHONPATH": str(tree)}
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)
        wall, after = time.perf_counter() - start, os.times()
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} in {tree} ended with {done.returncode}:\n{done.stderr.decode()}")
        measured = json.loads((Path(out) / Path(recipe).stem / "measurements.json").read_text(encoding="utf-8"))
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(wall, used, scores(measured))


def scores(measured: Any) -> Any:
    """The figures of the float model, which no change of the compiler moves."""
    return [evaluation["builds"]["float"]["scores"] for evaluation in measured["evaluations"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("recipe", nargs="?", default="recipes/steel_default.q")
    parser.add_argument("--runs", type=int, default=1, help="compiles of each side, in turns")
    parser.add_argument("--extra", nargs="*", default=[], help="words for `compile`, without their dashes")
    args = parser.parse_args()
    extra = [f"--{word}" for word in args.extra]
    with tempfile.TemporaryDirectory() as folder:
        sides = {"this tree": ROOT, args.revision: unpacked(args.revision, Path(folder))}
        runs: dict[str, list[Run]] = {name: [] for name in sides}
        for _ in range(args.runs):
            for name, tree in sides.items():
                runs[name].append(compiled(tree, args.recipe, extra))
    print(f"{machine()}; {args.recipe}, {args.runs} compiles of each in turns, load {os.getloadavg()[0]:.1f}")
    wall = {name: median([run.wall for run in done]) for name, done in runs.items()}
    used = {name: median([run.processor for run in done]) for name, done in runs.items()}
    for name in sides:
        print(f"{name:20}  {wall[name]:7.1f} s  {used[name]:7.1f} s of processor")
    here, there = sides
    print(f"{'faster':20}  {wall[there] / wall[here]:7.2f} x  {used[there] / used[here]:7.2f} x")
    same = runs[here][0].scores == runs[there][0].scores
    print(f"the float model's figures are {'the same' if same else 'OTHER ONES'}")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
