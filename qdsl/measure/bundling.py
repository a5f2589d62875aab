"""The bundle beside each artifact: what measures it on the device without qdsl."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.data.storing import unfinished
from qdsl.diag import QdslError
from qdsl.graph import save
from qdsl.graph.chosen_rows import chosen_rows
from qdsl.graph.integer_operators import computes_in_integers
from qdsl.harness import FLOAT, check
from qdsl.harness.bundle import FOLDER, Content, Entry, StoredInput, fitting, write
from qdsl.harness.portable import masks, portable
from qdsl.harness.profile import Wish
from qdsl.harness.tasks import Expected
from qdsl.measure import asking, comparing
from qdsl.measure.measuring import Made
from qdsl.spec.aside import folder_aside
from qdsl.spec.plan import AS_IT_IS
from qdsl.targets import reference, target_of
from qdsl.targets.base import Deployed, Runner
from qdsl.targets.results import NotHere
from qdsl.work.prepared import Prepared, takes
from qdsl.work.writing import unwritable

SAMPLES = 32
Rows = Sequence[Mapping[str, NDArray[Any]]]


def bundle(prepared: Prepared, made: Made, expected: Sequence[Expected], exact_on: Sequence[str] = ()) -> Path | None:
    """Write `<target>/bench/`: samples of what is evaluated first, else others that there are; `exact_on` as in
    `Content`. None where there are none, for a target whose artifacts nothing here runs, and where the float model does
    not run on samples that the recipe does not ask for. Raises QdslError for samples that cannot be read and an
    artifact that does not run."""
    first = next((each for each in expected if not each.condition), None)
    ways = target_of(made.plan.target).deployed(made.emitted)
    deployed = next((each for each in ways if isinstance(each, Deployed) and not each.provider), None)
    stored = [] if deployed is None else _of(prepared, first)
    if deployed is None or not stored:
        remove(made)
        return None
    folder = made.emitted.directory / FOLDER
    try:
        with folder_aside(folder) as aside:
            content = _content(prepared, made, deployed, first, stored, aside)
            if content is None:
                remove(made)
                return None
            write(folder, aside, replace(content, exact_on=exact_on))
    except OSError as error:
        raise unwritable(folder, error) from None
    return folder


def _content(
    prepared: Prepared,
    made: Made,
    deployed: Deployed,
    first: Expected | None,
    stored: Sequence[StoredInput],
    folder: Path,
) -> Content | None:
    """What goes into the bundle; the float model is written into `folder`, where it runs. Of a file that stays as it is
    the float model's golden outputs are those of its own arithmetic, whatever kernels this machine has."""
    save(prepared.floats, folder / "float.onnx")
    inputs = [check.prepared(each.samples, list(map(dict, each.steps)), each.dtype) for each in stored]
    rows: Rows = [
        {each.name: array[at, ...] for each, array in zip(stored, inputs, strict=True)} for at in range(len(inputs[0]))
    ]
    try:
        as_written = made.plan.mode == AS_IT_IS
        floats = _outputs(reference().float_runner(folder / "float.onnx", 1, as_written=as_written), rows)
    except QdslError:
        if first is not None:
            raise
        return None
    runner = target_of(made.plan.target).runner(made.emitted, 1, as_written=True)
    if isinstance(runner, NotHere):
        return None
    ours, out = _outputs(runner, rows), chosen_rows(prepared.view)
    entries = [
        Entry(FLOAT, "float.onnx", {}, _golden(floats, out)),
        Entry(made.plan.target, f"../{deployed.model.name}", deployed.options, _golden(ours, out)),
    ]
    indices = range(len(rows))
    labelled = first is not None and len(stored) == 1
    task = portable(first, indices, rows[0][stored[0].name].shape, floats[0]) if first and labelled else None
    drawn = masks(first, indices) if first is not None and task is not None else None
    if task is not None and task["task"] == "segmentation" and drawn is None:
        task = None
    kernels, wish = _kernels(made), _wish(prepared, made)
    return Content(prepared.recipe.name, made.plan.target, stored, entries, kernels, wish, task, drawn, out)


def remove(made: Made) -> None:
    """Take away the bundle of an earlier build: it was made for another artifact."""
    shutil.rmtree(made.emitted.directory / FOLDER, ignore_errors=True)


def _of(prepared: Prepared, expected: Expected | None) -> list[StoredInput]:
    """The first samples of a dataset in the form in which they are stored, or whatever samples there are."""
    wanted = takes(prepared)
    if expected is None:
        found = list(comparing.any_samples(prepared, fitting(1, 8))[0])
        if not found:
            return []
        alike = _alike([sample.arrays for sample in found])
        return [
            StoredInput(name, np.stack([row[name] for row in alike]), (), str(alike[0][name].dtype)) for name in wanted
        ]
    early = unfinished(expected.dataset, wanted)
    one = early.dataset.sample(0).arrays
    count = min(len(expected.dataset), fitting(sum(array.nbytes for array in one.values()), SAMPLES))
    rows = _alike([one, *(early.dataset.sample(at).arrays for at in range(1, count))])
    return [
        StoredInput(name, np.stack([row[name] for row in rows]), early.steps[name], early.types[name]) for name in one
    ]


def _alike(rows: Rows) -> Rows:
    """The rows up to the first of another shape: samples are stored as one array, and the labels are those of the
    first ones."""
    shapes = [[array.shape for array in row.values()] for row in rows]
    return rows[: next((at for at, shape in enumerate(shapes) if shape != shapes[0]), len(rows))]


def _outputs(runner: Runner, rows: Rows) -> Rows:
    return [runner.run(row) for row in rows]


def _golden(found: Rows, out: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Outputs [samples, ..], without those whose shape depends on the sample and those whose rows are chosen by it."""
    names = [name for name in found[0] if name not in out]
    same = [name for name in names if len({row[name].shape for row in found}) == 1]
    return {name: np.stack([row[name] for row in found]) for name in same}


def _kernels(made: Made) -> dict[str, int]:
    """How many nodes run in each integer kernel, as the manifest predicts: those with a name of their own."""
    floats = {node.op for node in made.plan.nodes}
    counts: dict[str, int] = {}
    for node in made.plan.nodes:
        for kernel in node.prediction.kernels if node.prediction.runs == "integer" else ():
            if kernel not in floats or computes_in_integers(kernel):
                counts[kernel] = counts.get(kernel, 0) + 1
    return dict(sorted(counts.items()))


def _wish(prepared: Prepared, made: Made) -> dict[str, int]:
    block = next(target for target in prepared.recipe.targets if target.name == made.plan.target)
    asked = asking.wanted(prepared.recipe, block)
    wish = asked[0] if asked is not None else Wish(threads=block.threads or 0)
    return {"runs": wish.runs, "warmup": wish.warmup, "batch": wish.batch, "threads": wish.threads}
