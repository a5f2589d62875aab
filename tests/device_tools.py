"""What `bench.py` would write of a build on a device, with figures of our own: it takes no time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

BOARD = "Board A"
Edit = Callable[[dict[str, Any]], object]


def document(build: Path, *, board: str = BOARD, ms: float = 2.0, memory: int | None = 50 << 20) -> dict[str, Any]:
    """The document for `<build>/ort`: every run of the artifact takes `ms` milliseconds, one of the float model twice
    that."""
    said = json.loads((build / "ort" / "bench" / "bundle.json").read_text(encoding="utf-8"))
    builds = ("float", "ort")
    ran = {"Conv": 1, **said["predicted"]}

    def cost(seconds: float) -> dict[str, Any]:
        return {
            "seconds": [seconds] * 5,
            "cpu": 1.0,
            "peak_memory": memory,
            "bare_memory": memory,
            "energy": None,
            "memory_runs": [] if memory is None else [[0, memory], [5, memory]],
        }

    return {
        "format": 2,
        "kind": "device",
        "recipe": said["recipe"],
        "target": said["target"],
        "files": said["files"],
        "environment": {"processor": "a processor", "architecture": "aarch64", "board": board, "python": "3.11.2"},
        "emulated": False,
        "samples": 8,
        "goldens": {
            "float": {"y": {"sqnr_db": None, "max_error": 0.0}},
            "ort": {"y": {"sqnr_db": 41.5, "max_error": 0.25}},
        },
        "arithmetic": {"samples": 8, "outputs": {"y": {"sqnr_db": 41.0, "max_error": 0.5}}},
        "fidelity": {"y": {"planned_db": 34.4, "here_db": 34.3}},
        "operators": {build: dict(ran) for build in builds},
        "kernels": {name: [count, count] for name, count in said["predicted"].items()},
        "scores": {"float": {"top1": 1.0}, "ort": {"top1": 0.875}},
        "profile": {
            "runs": 5,
            "warmup": 1,
            "batch": 1,
            "threads": 1,
            "builds": {"float": cost(2 * ms / 1e3), "ort": cost(ms / 1e3)},
        },
    }


def written(build: Path, path: Path, edit: Edit = lambda found: None, **figures: Any) -> Path:
    """The same in a file, after an edit."""
    found = document(build, **figures)
    edit(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found), encoding="utf-8")
    return path
