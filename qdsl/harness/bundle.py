"""The folder beside an artifact that measures it on the device: a script, samples, goldens, labels, the float model.

Everything in it is written for one artifact and checked by hash on the device; the same build gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.harness import bench, check, machine, scoring, worker
from qdsl.spec.aside import replace_folder

FOLDER = "bench"
_METRICS = ("boxes", "classification", "decoding", "detection", "grids", "heads", "segmentation")
_LARGEST = 48 << 20  # bytes of samples, and of the goldens of one model


@dataclass(frozen=True, slots=True)
class StoredInput:
    """One input of the model: samples [n, ..], each fed whole, as they are stored, the arithmetic steps to take on the
    device, and the type that the model takes."""

    name: str
    samples: NDArray[Any]
    steps: Sequence[Mapping[str, Any]]
    dtype: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One model: its file as seen from the bundle, the session options that it asks for, and its outputs [n, ..] for
    the samples: the float model's as it runs on this machine, the artifact's as its graph says, which no machine's
    kernels decide."""

    build: str
    file: str
    options: Mapping[str, str]
    golden: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into a bundle. `predicted` counts nodes by kernel; `profile` has runs, warmup, batch and threads;
    `task` is what `scoring` reads, None for nothing to score; `masks` [n, h, w] are its labels in a segmentation;
    `unordered` the outputs that cannot be compared row by row, each with why: no golden has them; `exact_on` the
    instruction sets, or `any` machine, on which kernels that add otherwise than the file says only round otherwise."""

    recipe: str
    target: str
    inputs: Sequence[StoredInput]
    entries: Sequence[Entry]
    predicted: Mapping[str, int]
    profile: Mapping[str, int]
    task: Mapping[str, Any] | None = None
    masks: NDArray[Any] | None = None
    unordered: Mapping[str, str] = field(default_factory=dict)
    exact_on: Sequence[str] = ()


def fitting(sample_bytes: int, most: int) -> int:
    """How many samples go in: `most`, or fewer where they are large; at least one."""
    return max(1, min(most, _LARGEST // max(1, sample_bytes)))


def write(folder: Path, aside: Path, content: Content) -> None:
    """Complete the bundle in `aside`, a folder beside `folder` that holds the float model already, and put it in the
    place of `folder`. Raises OSError where that fails."""
    copy_scripts(aside)
    _arrays(aside / "samples.npz", {each.name: each.samples for each in content.inputs})
    for entry in content.entries:
        _arrays(aside / f"golden_{entry.build}.npz", {name: _bounded(array) for name, array in entry.golden.items()})
    if content.masks is not None:
        _arrays(aside / "masks.npz", {"masks": content.masks})
    said = _said(aside, content)
    (aside / "bundle.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    replace_folder(folder, aside)


def _said(aside: Path, content: Content) -> dict[str, Any]:
    """bundle.json, with the hash of every other file and of the artifact."""
    files = {str(path.relative_to(aside)): path for path in sorted(aside.rglob("*")) if path.is_file()}
    files |= {entry.file: aside / entry.file for entry in content.entries if entry.file.startswith("..")}
    return {
        "format": check.FORMAT,
        "recipe": content.recipe,
        "target": content.target,
        "files": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())},
        "builds": {entry.build: {"file": entry.file, "options": dict(entry.options)} for entry in content.entries},
        "inputs": [
            {"name": each.name, "steps": [dict(step) for step in each.steps], "dtype": each.dtype}
            for each in content.inputs
        ],
        "predicted": dict(content.predicted),
        "profile": dict(content.profile),
        "unordered": dict(content.unordered),
        **({"exact_on": list(content.exact_on)} if content.exact_on else {}),
        "task": None if content.task is None else dict(content.task),
    }


def copy_scripts(folder: Path) -> None:
    """The scripts, and for scoring the metrics that they need, under names of the bundle's own."""
    for script in (bench, check, machine, scoring, worker):
        _copy(script, folder)
    names = {"Detections", "Truth", "iou", "nms", "classification_metrics", "guesses", "detection_metrics", "match"}
    names |= {"two_classes", "pixel_confusion", "segmentation_metrics"}
    (folder / "metrics").mkdir()
    lines = ['"""Metrics, as in qdsl.metrics."""', ""]
    for module in _METRICS:
        source = import_module(f"qdsl.metrics.{module}")
        _copy(source, folder / "metrics")
        own = sorted(
            name for name in names if getattr(getattr(source, name, None), "__module__", "") == source.__name__
        )
        lines += [f"from metrics.{module} import {', '.join(own)}"] if own else []
    (folder / "metrics" / "__init__.py").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _copy(module: ModuleType, folder: Path) -> None:
    """The module as a file that finds its own beside it instead of in qdsl."""
    path = Path(str(module.__file__))
    text = path.read_text(encoding="utf-8").replace("from qdsl.metrics", "from metrics")
    (folder / path.name).write_text(text.replace("from qdsl.harness.", "from "), encoding="utf-8", newline="\n")


def _bounded(golden: NDArray[Any]) -> NDArray[Any]:
    """The first rows of a golden output, as many as there is room for."""
    row = golden[:1].nbytes
    return golden[: max(1, _LARGEST // max(1, row))]


def _arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An npz by names of any kind; compressed, with no time in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
