"""Measures models in ONNX Runtime, on any machine. Needs Python, numpy and onnxruntime, nothing of qdsl.

In the folder that `qdsl compile` writes beside an artifact, on the device:

    python bench.py

It checks everything that `check.py` does, for the artifact and the float model, scores labelled samples, times both
models in turns, and writes measurements.json, which `qdsl report --add` reads. `python bench.py --check` only checks.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from qdsl.harness.check import FORMAT, Bundle, Checked, check, count_of, json_ready, tell, unordered
from qdsl.harness.worker import SAMPLES, RefusedError, Worker, store_feeds, take_turns

UNOPTIMIZED_SAMPLES = 8


def bench(bundle: Bundle, wish: dict[str, int]) -> dict[str, Any]:
    """Everything that is measured here, as data."""
    said = bundle.said
    checked = Checked(bundle, wish["threads"])
    for build in said["builds"]:
        checked.run(build)
    return {
        "format": FORMAT,
        "kind": "device",
        "recipe": said["recipe"],
        "target": said["target"],
        "files": said["files"],
        **checked.found(UNOPTIMIZED_SAMPLES),
        "scores": scored(bundle, checked.outputs),
        "profile": profiled(bundle, checked.inputs, wish),
    }


def scored(bundle: Bundle, outputs: dict[str, dict[str, list[Any]]]) -> dict[str, Any] | None:
    """The figures of the labelled samples, by build; None where the recipe evaluates none."""
    task = bundle.said.get("task")
    if task is None:
        return None
    sys.path.insert(0, str(bundle.folder))
    scoring = import_module("scoring")
    return {build: scoring.scores(task, found) for build, found in outputs.items()}


def profiled(bundle: Bundle, inputs: dict[str, Any], wish: dict[str, int]) -> dict[str, Any]:
    """Both models in turns, each in a process of its own."""

    def heard(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\rprofile: {done} of {total} runs", end="\n" if done == total else "", file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "inputs.npz"
        count = count_of(inputs)
        samples = [
            {name: array[at, ...] for name, array in inputs.items()}
            for at in range(min(count, max(SAMPLES, wish["batch"])))
        ]
        store_feeds(stored, samples, wish["batch"])
        workers: list[Worker] = []
        try:
            for build, said in bundle.said["builds"].items():
                workers.append(Worker(build, bundle.folder / said["file"], stored, said["options"], wish))
            take_turns(workers, wish["runs"], heard)
            builds = {worker.build: worker.found() for worker in workers}
        finally:
            for worker in workers:
                worker.__exit__()
    return {**wish, "builds": builds}


def tell_costs(found: dict[str, Any]) -> None:
    """The figures in a few lines."""
    for build, figures in (found["scores"] or {}).items():
        print(f"  {build}: " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    for build, each in found["profile"]["builds"].items():
        rising = sorted(each["seconds"])
        print(f"  {build}: p50 {1e3 * rising[max(0, math.ceil(0.5 * len(rising)) - 1)]:.2f} ms, {len(rising)} runs")


def store(found: dict[str, Any], path: Path) -> None:
    """Write the document, whole or not at all."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(json.dumps(json_ready(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the models of this bundle on this machine.")
    parser.add_argument("--check", action="store_true", help="only compare: time nothing, write nothing")
    parser.add_argument("--runs", type=int, help="measured runs of each model")
    parser.add_argument("--warmup", type=int, help="runs before")
    parser.add_argument("--threads", type=int, help="0: as many as ONNX Runtime takes by itself")
    parser.add_argument("--out", type=Path, default=Path("measurements.json"))
    args = parser.parse_args()
    try:
        bundle = Bundle(Path(__file__).resolve().parent)
        asked = {name: getattr(args, name) for name in ("runs", "warmup", "threads")}
        wish = {**bundle.said["profile"], **{name: value for name, value in asked.items() if value is not None}}
        if args.check:
            tell(check(bundle, wish["threads"]), bundle.said["target"])
            return 0
        found = bench(bundle, wish)
    except RefusedError as reason:
        print(f"bench.py: {reason}", file=sys.stderr)
        return 1
    store(found, args.out)
    tell({**found, "unordered": unordered(bundle)}, bundle.said["target"])
    tell_costs(found)
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
