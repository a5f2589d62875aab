"""Builds in ONNX Runtime as they are shipped, to be timed against each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.graph import Model, save
from qdsl.spec.plan import Plan
from qdsl.targets.base import Feed, Runner, Turns
from qdsl.targets.ort.emit import quantize
from qdsl.targets.ort.layer_times import layer_times
from qdsl.targets.ort.run import OrtRunner
from qdsl.targets.ort.session import session_options
from qdsl.targets.racing import race
from qdsl.targets.results import LayerTimes

_FINE = 1e-5  # seconds


@dataclass(frozen=True, slots=True)
class OrtBench:
    """See `qdsl.targets.base.Bench`: builds are loaded as they are shipped."""

    model: Model
    ranges: Ranges
    folder: Path
    threads: int

    def load(self, plan: Plan | None) -> OrtRunner:
        made = self.model if plan is None else quantize(self.model, plan, self.ranges)[0]
        entries = {} if plan is None else session_options(plan)
        what = "the float model" if plan is None else "the quantized model"
        written = save(made, self.folder / "model.onnx")
        try:
            return OrtRunner(what, written[0], entries, self.threads, span=self.model.span)
        finally:
            for path in written:
                path.unlink(missing_ok=True)

    def layers(self, plan: Plan | None, feed: Feed, runs: int) -> LayerTimes:
        made = self.model if plan is None else quantize(self.model, plan, self.ranges)[0]
        entries = {} if plan is None else session_options(plan)
        written = save(made, self.folder / "model.onnx")
        try:
            return layer_times(written[0], self.model.view(), entries, self.threads, feed, runs, span=self.model.span)
        finally:
            for path in written:
                path.unlink(missing_ok=True)

    def race(self, base: Runner, other: Runner, feed: Feed, blocks: int, heard: Callable[[int], None]) -> Turns:
        return race(base, other, feed, blocks, heard, _clock(self.threads))


def _clock(threads: int) -> Callable[[], float]:
    """One thread is timed by what it computes: what other programs take of its processor is not the build's. Several
    are timed by the wall, as is one where the system counts in ticks."""
    fine = time.get_clock_info("thread_time").resolution < _FINE
    return time.thread_time if threads == 1 and fine else time.perf_counter
