"""How long `verify` takes within `qdsl compile --no-measure` of YOLOv8n, this tree in turns with another revision.

Each run is a process that compiles its own `recipes/yolov8n_static.q` with the lock committed beside it, and times the
one call that compares the artifact with the float model.

Bound: at most half the time of the revision.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from common import ROOT, Row, alternate, finish, flags, machine, median

RECIPE = "recipes/yolov8n_static.q"
HALF = 0.5
# Run inside either tree: prints the seconds of `verify` and of the whole verb.
TIMED = """
import sys, time
from qdsl.cli import main
from qdsl.targets.ort import verify as module
plain, spent = module.verify, []
def timed(*args, **named):
    start = time.perf_counter()
    try:
        return plain(*args, **named)
    finally:
        spent.append(time.perf_counter() - start)
module.verify = timed
start = time.perf_counter()
code = main(["compile", sys.argv[1], "--no-measure", "--locked", "--out", sys.argv[2]])
print("timed", sum(spent), time.perf_counter() - start)
sys.exit(code)
"""


def checkout(revision: str, folder: Path) -> Path:
    """The files of `revision` below `folder`."""
    command = ["git", "archive", revision, "qdsl", "passes", "grammars", "recipes", "examples/people"]
    packed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


def side(tree: Path, out: Path, totals: list[float]) -> Callable[[], float]:
    """One compilation by the code of `tree`; its seconds of `verify`. `totals` gets those of the whole verb."""

    def measure() -> float:
        command = [sys.executable, "-c", TIMED, RECIPE, str(out)]
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"compile by {tree} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        verify, total = done.stdout.rsplit("timed ", 1)[1].split()
        totals.append(float(total))
        return float(verify)

    return measure


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--against", default="ada383b", help="a git revision (default ada383b)")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each side")
    parser.add_argument("--check", action="store_true", help="exit 1 when the bound is broken")
    args = parser.parse_args()
    whole: dict[str, list[float]] = {"new": [], "old": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "old").mkdir()
        trees = {"new": ROOT, "old": checkout(args.against, folder / "old")}
        sides = {key: side(tree, folder / f"out-{key}", whole[key]) for key, tree in trees.items()}
        taken = {key: median(values) for key, values in alternate(sides, args.runs).items()}
    print(f"{machine()}; {flags()}; median of {args.runs} alternating runs")
    for key, label in (("old", args.against), ("new", "this tree")):
        total = median(whole[key][1:])
        print(f"{label}: verify {taken[key]:.2f} s of {total:.2f} s ({taken[key] / total:.0%})")
    return finish([Row(f"verify, against {args.against}", taken["new"] / taken["old"], "x", HALF)], args.check)


if __name__ == "__main__":
    sys.exit(main())
