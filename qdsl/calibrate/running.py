"""Calibration: the float model runs over a dataset, and every wanted tensor's range comes back.

Each sample is one run on one thread, several runs side by side. What is remembered merges in any order, so the ranges
are the same to the bit for any number of workers, any batch, any split into shards, and after an interruption; memory
does not grow with the number of samples.

A NaN can hide from a minimum inside the graph, so sums look for it, at the model's outputs and wherever it might be
lost on the way there; a sample that looks suspicious is run again with all tensors in the open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from qdsl.calibrate.channels import slices
from qdsl.calibrate.checkpoint import Checkpoint
from qdsl.calibrate.fingerprint import fingerprint
from qdsl.calibrate.histogram import count
from qdsl.calibrate.instrument import MASKED, Readout, expose, instrument
from qdsl.calibrate.observations import Observations
from qdsl.calibrate.ranges import Ranges
from qdsl.calibrate.request import Request
from qdsl.calibrate.session import run, session
from qdsl.calibrate.ways import Look, plan_all
from qdsl.data import Dataset, Sample
from qdsl.data.sameness import digest
from qdsl.graph import Model
from qdsl.graph.sessions import Session
from qdsl.graph.view import GraphView
from qdsl.spec.threads import in_order, processors

Progress = Callable[[int, int, float], None]
SAVE_EVERY = 15.0
_LOWEST = float(np.finfo(np.float32).min)
_MOST_WORKERS = 8
# Exposed tensors of all samples under way at once; the next worker would have to be worth more than this.
_MOST_EXPOSED = 192 << 20


def minmax(
    model: Model,
    tensors: Sequence[str],
    dataset: Dataset,
    *,
    workers: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Ranges:
    """The smallest and largest value of each of `tensors` over all samples: see `calibrate`."""
    requests = [Request(name) for name in tensors]
    return calibrate(model, requests, dataset, workers=workers, batch=batch, progress=progress)


def calibrate(
    model: Model,
    requests: Sequence[Request],
    dataset: Dataset,
    *,
    workers: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Ranges:
    """The range of each requested tensor over all samples, in the tensor's real values, in one pass over `dataset`.
    Requests with an `axis` are answered slice by slice, in `Ranges.channels`; the others in `low` and `high`.

    `workers` threads (None: the processors there are, at most 8) take `batch` samples at a time (None: 1); neither
    changes the result. `progress` is called in the caller's thread with (samples done, samples in all, samples per
    second). `checkpoint` is a file that keeps what was seen: an interrupted calibration goes on from there, a finished
    one removes it. Raises QdslError: calibration-tensor, calibration-load, calibration-run, calibration-non-finite,
    and those of the dataset; the first in dataset order.
    """
    told = {"": requests}
    found = calibrate_each(model, told, dataset, workers=workers, batch=batch, progress=progress, checkpoint=checkpoint)
    return found[""]


def calibrate_each(
    model: Model,
    asked: Mapping[str, Sequence[Request]],
    dataset: Dataset,
    *,
    workers: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> dict[str, Ranges]:
    """For each who asks, by name, the ranges that `calibrate` gives for these requests alone: in one pass for all."""
    requests = list(asked.values())
    ways, _ = plan_all(model, requests)
    found = observe(model, requests, dataset, workers=workers, batch=batch, progress=progress, checkpoint=checkpoint)
    ranges = {name: found.ranges(each) for name, each in zip(asked, ways, strict=True)}
    if checkpoint is not None:
        Checkpoint(checkpoint).remove()
    return ranges


def observe(
    model: Model,
    asked: Sequence[Sequence[Request]],
    dataset: Dataset,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Observations:
    """What shard `shard` (number, of how many) of `dataset` shows to each who asks: every so many-th sample. All shards
    of one model and dataset `merge`, in any order, to the same state as one pass; `Observations.ranges` of it, with the
    ways of `plan_all`, gives the ranges. The rest is as in `calibrate`, but a checkpoint stays."""
    _, look = plan_all(model, asked)
    view = model.view()
    found: list[Readout] = []
    whole = dict.fromkeys([*look.counted, *(request.tensor for request in look.sliced)])
    counted = tuple(name for name in whole if name not in view.inputs)
    loaded = session(model, lambda proto: found.append(instrument(proto, view, look.extremes, counted, look.rows)))
    total = len(dataset)
    state = Observations(fingerprint(model, asked, dataset), total, span=dataset.span)
    keeper = Checkpoint(checkpoint) if checkpoint is not None else None
    state = state if keeper is None else keeper.load(state)
    indices = [index for index in range(total) if index % shard[1] == shard[0]]
    job = _Job(model, view, look, dataset, loaded, found[0], state)
    _carry_out(job, [i for i in indices if i not in state.done], len(indices), workers, batch or 1, progress, keeper)
    return state


def _workers(job: _Job, asked: int | None) -> int:
    exposed = sum((job.view.tensors[name].elements or 1 << 20) * 4 for name in job.readout.counted)
    return asked or max(1, min(_MOST_WORKERS, processors(), _MOST_EXPOSED // max(1, exposed)))


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that a worker needs. Only `state` changes, under `lock`."""

    model: Model
    view: GraphView
    look: Look
    dataset: Dataset
    session: Session
    readout: Readout
    state: Observations
    lock: Lock = field(default_factory=Lock)

    def measure(self, indices: Sequence[int]) -> int:
        """Add some samples to the state; how many."""
        for index in indices:
            self._one(self.dataset.sample(index))
        return len(indices)

    def _one(self, sample: Sample) -> None:
        values = _fetch(self.session, self.readout.names, sample, self.dataset)
        numbers = {name: float(values[name]) for name in self.readout.scalars}
        seen = {tensor: (numbers[low], numbers[high]) for tensor, (low, high) in self.readout.extremes.items()}
        shown = {name: values[name] for name in self.readout.counted}
        shown |= {name: sample.arrays[name] for name in self.view.inputs if name in sample.arrays}
        seen |= {name: (float(v.min()), float(v.max())) for name, v in shown.items() if v.size}
        seen |= {name: (max(_LOWEST, seen[name][0]), seen[name][1]) for name in self.look.masked & seen.keys()}
        tops = {row: numbers[name] for row, name in self.readout.tops.items()}
        lost = any(np.isnan(numbers[name]) for name in self.readout.sums)
        if lost or not np.isfinite(list(seen.values())).all():
            self._locate(sample)
        told = digest(sample.arrays)
        parts = [(request, slices(request, shown[request.tensor])) for request in self.look.sliced]
        with self.lock:  # a sample is in the state as a whole or not at all
            self.state.add(sample.index, seen, self.look)
            self.state.add_tops(sample.index, {row: top for row, top in tops.items() if top > MASKED})
            self.state.flat |= {sample.index} if sample.flat else set()
            self.state.digests[sample.index] = told
            for name in self.look.counted:
                count(shown[name], self.state.counters(name))
            for request, found in parts:
                self.state.add_slices(sample.index, request, found)

    def _locate(self, sample: Sample) -> None:
        """Raise for the first wanted tensor, in graph order, that is not finite; a mere suspicion raises nothing."""
        asked = {request.tensor for request in (*self.look.asked, *self.look.sliced)}
        masked = {request.tensor for request in self.look.asked if request.masked}
        masked -= {request.tensor for request in self.look.asked if not request.masked}
        order = [*self.view.inputs, *(o for node in self.view.nodes for o in node.outputs)]
        wanted = [t for t in order if t in asked]
        made = [t for t in wanted if t not in self.view.inputs]
        shown = session(self.model, lambda proto: expose(proto, self.view, made))
        values = {**sample.arrays, **_fetch(shown, made, sample, self.dataset)}
        for name in wanted:
            odd = ~np.isfinite(values[name])
            if not odd.any() or (name in masked and np.all(values[name][odd] == -np.inf)):
                continue
            what = "NaN" if np.isnan(values[name]).any() else "infinity"
            node = self.view.producer(name)
            by = f", which {node.op} {node.name} writes" if node else ", an input of the model"
            help = ("look at this sample and at the weights before this tensor; no scale can hold such a value",)
            headline = f"tensor {name} holds {what} for sample {sample.id}"
            raise self.dataset.error("calibration-non-finite", headline, label=f"{name}{by}", help=help)


def _fetch(loaded: Session, names: Sequence[str], sample: Sample, dataset: Dataset) -> dict[str, Any]:
    """The outputs `names` for one sample, by name; without any the model does not run."""
    return dict(zip(names, run(loaded, names, sample, dataset), strict=True)) if names else {}


def _carry_out(
    job: _Job,
    indices: Sequence[int],
    total: int,
    workers: int | None,
    batch: int,
    progress: Progress | None,
    keeper: Checkpoint | None,
) -> None:
    """Measure the samples, tell of each in dataset order, and keep the state every so often and when interrupted."""
    before = done = total - len(indices)
    started = saved = time.monotonic()
    try:
        for step in _in_order(job, indices, _workers(job, workers), batch):
            for _ in range(step):
                done += 1
                if progress is not None:
                    progress(done, total, (done - before) / max(time.monotonic() - started, 1e-9))
            if keeper is not None and time.monotonic() - saved > SAVE_EVERY:
                _save(job, keeper)
                saved = time.monotonic()
    except BaseException:
        if keeper is not None and job.state.done:
            _save(job, keeper)
        raise


def _save(job: _Job, keeper: Checkpoint) -> None:
    with job.lock:
        text = job.state.to_json()
    keeper.save(text)


def _in_order(job: _Job, indices: Sequence[int], workers: int, batch: int) -> Iterator[int]:
    """Measures everything, a few batches ahead, by `workers` threads; yields the size of each batch in order."""
    step = max(1, batch)
    parts = (indices[start : start + step] for start in range(0, len(indices), step))
    yield from in_order(job.measure, parts, max(1, workers), name="qdsl-calibrate")
