"""The bundle beside each artifact: what measures it on the device without qdsl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.api import comparing, profiling
from qdsl.api.measuring import Made
from qdsl.api.prepare import Prepared
from qdsl.data.storing import unfinished
from qdsl.graph import save
from qdsl.harness import FLOAT, bench
from qdsl.harness.bundle import FOLDER, Content, Entry, StoredInput, fitting, write
from qdsl.harness.portable import masks, portable
from qdsl.harness.profile import Wish
from qdsl.harness.tasks import Expected
from qdsl.targets import Runner, target_module

SAMPLES = 32
Rows = list[Mapping[str, NDArray[Any]]]


def bundle(prepared: Prepared, made: Made, expected: Sequence[Expected]) -> Path | None:
    """Write `<target>/bench/`: samples of what is evaluated first, else others that there are. None where there are
    none. Raises QdslError for samples that cannot be read and models that do not run."""
    first = next((each for each in expected if not each.condition), None)
    stored = _of(prepared, first)
    if not stored:
        return None
    folder = made.emitted.directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    save(prepared.model, folder / "float.onnx")
    module = target_module(made.plan.target)
    inputs = [bench.prepared(each.samples, list(map(dict, each.steps)), each.dtype) for each in stored]
    rows = [
        {each.name: array[at : at + 1] for each, array in zip(stored, inputs, strict=True)}
        for at in range(len(inputs[0]))
    ]
    floats = _outputs(target_module("ort").float_runner(folder / "float.onnx", 1), rows)
    ours = _outputs(module.runner(made.emitted, 1), rows)
    entries = [
        Entry(FLOAT, "float.onnx", {}, floats),
        Entry(made.plan.target, f"../{made.emitted.model.name}", module.session_options(made.emitted), ours),
    ]
    indices = range(len(rows))
    one = {name: array[:1] for name, array in floats.items()}
    labelled = first is not None and len(stored) == 1
    task = portable(first, indices, inputs[0].shape, one) if first is not None and labelled else None
    drawn = masks(first, indices) if first is not None and task is not None else None
    if task is not None and task["task"] == "segmentation" and drawn is None:
        task = None
    write(
        folder,
        Content(
            prepared.recipe.name, made.plan.target, stored, entries, _kernels(made), _wish(prepared, made), task, drawn
        ),
    )
    return folder


def _of(prepared: Prepared, expected: Expected | None) -> list[StoredInput]:
    """The first samples of a dataset in the form in which they are stored, or whatever samples there are."""
    takes = comparing.takes(prepared)
    if expected is None:
        found = list(comparing.any_samples(prepared, fitting(1, 8))[0])
        if not found:
            return []
        return [
            StoredInput(
                name, np.concatenate([sample.arrays[name] for sample in found]), (), str(found[0].arrays[name].dtype)
            )
            for name in found[0].arrays
        ]
    early = unfinished(expected.dataset, takes)
    one = early.dataset.sample(0).arrays
    count = min(len(expected.dataset), fitting(sum(array.nbytes for array in one.values()), SAMPLES))
    rows = [one, *(early.dataset.sample(at).arrays for at in range(1, count))]
    return [
        StoredInput(name, np.concatenate([row[name] for row in rows]), early.steps[name], early.types[name])
        for name in one
    ]


def _outputs(runner: Runner, rows: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    found: Rows = [runner.run(row) for row in rows]
    return {name: np.concatenate([row[name] for row in found]) for name in found[0]}


def _kernels(made: Made) -> dict[str, int]:
    """How many nodes run in each integer kernel, as the manifest predicts: those with a name of their own."""
    floats = {node.op for node in made.plan.nodes}
    counts: dict[str, int] = {}
    for node in made.plan.nodes:
        kernel = node.prediction.kernel
        if node.prediction.runs == "integer" and kernel and kernel not in floats:
            counts[kernel] = counts.get(kernel, 0) + 1
    return dict(sorted(counts.items()))


def _wish(prepared: Prepared, made: Made) -> dict[str, int]:
    block = next(target for target in prepared.recipe.targets if target.name == made.plan.target)
    asked = profiling.wanted(prepared.recipe, block)
    wish = asked[0] if asked is not None else Wish(threads=block.threads or 0)
    return {"runs": wish.runs, "warmup": wish.warmup, "batch": wish.batch, "threads": wish.threads}
