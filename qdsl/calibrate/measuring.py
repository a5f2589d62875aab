"""Min-max calibration: the float model runs over a dataset, and every wanted tensor's range comes back.

Each sample is one run on one thread, several runs side by side; what is remembered of a sample is two numbers a tensor,
and samples are merged in dataset order. So the ranges are the same to the bit for any number of workers and any
batch, and memory does not grow with the number of samples.

A NaN can hide from a minimum, so sums look for it, at the model's outputs and wherever it might be lost on the way
there; a sample that looks suspicious is run again with all tensors in the open.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdsl.calibrate.instrument import Readout, expose, instrument
from qdsl.calibrate.observers import MinMax
from qdsl.calibrate.ranges import Ranges
from qdsl.calibrate.session import runtime_reason, session
from qdsl.calibrate.shortcuts import Shortcuts, shortcuts
from qdsl.data import Dataset, Sample
from qdsl.diag import Diagnostic, QdslError, nearest
from qdsl.graph import Model
from qdsl.graph.view import GraphView

Progress = Callable[[int, int, float], None]
_SETTLED = 0.01
_MOST_WORKERS = 8


def minmax(
    model: Model,
    tensors: Sequence[str],
    dataset: Dataset,
    *,
    workers: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Ranges:
    """The smallest and largest value of each of `tensors` over all samples, in the tensor's real values.

    `workers` threads (None: the processors there are, at most 8) take `batch` samples at a time (None: 1); neither
    changes the result. `progress` is called in the caller's thread with (samples done, samples in all, samples per
    second). Raises QdslError: calibration-tensor, calibration-load, calibration-run, calibration-non-finite, and
    those of the dataset; the first in dataset order.
    """
    view = model.view()
    _check(view, tensors)
    ways = shortcuts(view, tuple(dict.fromkeys(tensors)))
    found: list[Readout] = []
    run = session(model, lambda proto: found.append(instrument(proto, view, ways)))
    job = _Job(model, view, ways, dataset, run, found[0])
    return _gather(job, workers or min(_MOST_WORKERS, _processors()), batch or 1, progress)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(view: GraphView, tensors: Sequence[str]) -> None:
    for name in tensors:
        known = view.tensors.get(name)
        if known is None or known.kind == "constant":
            help = tuple(f"did you mean `{close}`?" for close in nearest(name, view.tensors))
            what = "is a constant" if known else "is not in the model"
            raise QdslError([Diagnostic("calibration-tensor", f"tensor {name} {what}", help=help)])


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that a worker needs; nothing in it changes while workers run."""

    model: Model
    view: GraphView
    ways: Shortcuts
    dataset: Dataset
    session: Any
    readout: Readout

    def measure(self, indices: range) -> list[dict[str, MinMax]]:
        """The observations of some samples, by tensor that is measured."""
        return [self._one(self.dataset.sample(index)) for index in indices]

    def _one(self, sample: Sample) -> dict[str, MinMax]:
        numbers = _run(self.session, self.readout.names, sample)
        seen = {tensor: MinMax(numbers[low], numbers[high]) for tensor, (low, high) in self.readout.extremes.items()}
        for name in self.view.inputs:
            if name in sample.arrays:
                seen[name] = MinMax()
                seen[name].update(sample.arrays[name])
        lost = any(np.isnan(numbers[name]) for name in self.readout.sums)
        if lost or not all(observed.finite for observed in seen.values()):
            self._locate(sample)
        return seen

    def _locate(self, sample: Sample) -> None:
        """Raise for the first wanted tensor, in graph order, that is not finite; a mere suspicion raises nothing."""
        order = [*self.view.inputs, *(o for node in self.view.nodes for o in node.outputs)]
        wanted = [t for t in order if t in self.ways.parts]
        made = [t for t in wanted if t not in self.view.inputs]
        shown = session(self.model, lambda proto: expose(proto, self.view, made))
        values = {**sample.arrays, **_fetch(shown, made, sample)}
        for name in wanted:
            if np.isfinite(values[name]).all():
                continue
            what = "NaN" if np.isnan(values[name]).any() else "infinity"
            node = self.view.producer(name)
            by = f", which {node.op} {node.name} writes" if node else ", an input of the model"
            help = ("look at this sample and at the weights before this tensor; no scale can hold such a value",)
            headline = f"tensor {name} holds {what} for sample {sample.id}"
            raise QdslError([Diagnostic("calibration-non-finite", headline, label=f"{name}{by}", help=help)])


def _run(run: Any, names: Sequence[str], sample: Sample) -> dict[str, float]:
    return {name: float(value) for name, value in _fetch(run, names, sample).items()}


def _fetch(run: Any, names: Sequence[str], sample: Sample) -> dict[str, Any]:
    """The outputs `names` for one sample. QdslError `calibration-run` with ONNX Runtime's reason."""
    if not names:
        return {}
    try:
        return dict(zip(names, run.run(list(names), dict(sample.arrays)), strict=True))
    # ONNX Runtime's exceptions share no base class but Exception.
    except Exception as error:
        headline = f"the float model does not run on sample {sample.id}: {runtime_reason(error)}"
        raise QdslError([Diagnostic("calibration-run", headline)]) from None


def _gather(job: _Job, workers: int, batch: int, progress: Progress | None) -> Ranges:
    """Merge the samples in dataset order."""
    total = len(job.dataset)
    whole: dict[str, MinMax] = {}
    settled, started = 0, time.monotonic()
    for done, seen in enumerate(_in_order(job, workers, batch), start=1):
        if _merge(whole, seen):
            settled = done
        if progress is not None:
            progress(done, total, done / max(time.monotonic() - started, 1e-9))
    low, high = {}, {}
    for name, parts in sorted(job.ways.parts.items()):
        union = MinMax()
        for part in parts:
            union.merge(whole[part])
        low[name], high[name] = union.state()
    return Ranges(low, high, total, settled)


def _merge(whole: dict[str, MinMax], seen: dict[str, MinMax]) -> bool:
    """Merge one sample; True when a range grew by more than 1 % of the width it had."""
    grew = False
    for name, observed in seen.items():
        known = whole.setdefault(name, MinMax())
        before = known.high - known.low
        known.merge(observed)
        grew |= known.high - known.low > before * (1 + _SETTLED) if before >= 0 else True
    return grew


def _in_order(job: _Job, workers: int, batch: int) -> Iterator[dict[str, MinMax]]:
    """The observations of every sample in dataset order, a few samples measured ahead by `workers` threads."""
    total = len(job.dataset)
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="qdsl-calibrate") as pool:
        waiting: deque[Future[list[dict[str, MinMax]]]] = deque()
        try:
            for start in range(0, total, max(1, batch)):
                waiting.append(pool.submit(job.measure, range(start, min(total, start + max(1, batch)))))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
