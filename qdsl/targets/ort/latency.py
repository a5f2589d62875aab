"""Time two builds against each other in ONNX Runtime, in turns; hold a build's outputs against the float model's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from qdsl.calibrate import Ranges
from qdsl.graph import Model, save
from qdsl.plan import Plan
from qdsl.targets.ort.agreement import Agreement
from qdsl.targets.ort.emit import quantize
from qdsl.targets.ort.exposing import QUANTIZED, refused

# Seconds that one build runs per block, and how many runs that is at least and at most.
_BLOCK_SECONDS = 0.15
_FEWEST, _MOST = 3, 200
_WARM_UP = 3
Feed = Mapping[str, Any]


class Contender:
    """One build, loaded for `threads` threads. Raises QdslError `artifact-refused` where ONNX Runtime refuses it."""

    def __init__(self, path: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise refused(QUANTIZED, error) from None
        self._inputs = [info.name for info in self._session.get_inputs()]

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(info.name for info in self._session.get_outputs())

    def run(self, feed: Feed) -> list[Any]:
        try:
            found: list[Any] = self._session.run(None, {name: feed[name] for name in self._inputs})
        except Exception as error:
            raise refused(QUANTIZED, error) from None
        return found


def contender(model: Model, plan: Plan | None, ranges: Ranges, folder: Path, threads: int) -> Contender:
    """The build of `plan` (None: the float model itself), written into `folder` for the time of loading."""
    made = model if plan is None else quantize(model, plan, ranges)[0]
    written = save(made, folder / "model.onnx")
    try:
        return Contender(written[0], threads)
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def fidelity(build: Contender, reference: Sequence[Sequence[Any]], feeds: Sequence[Feed]) -> dict[str, float]:
    """Signal-to-noise ratio in dB of each output, over all feeds; -inf where it cannot be compared. `reference` holds
    the float model's outputs per feed."""
    sums = {name: Agreement() for name in build.outputs}
    for feed, expected in zip(feeds, reference, strict=True):
        for total, wanted, got in zip(sums.values(), expected, build.run(feed), strict=True):
            total.add(wanted, got)
    found = {name: total.sqnr_db for name, total in sums.items()}
    return {name: -math.inf if value is None else value for name, value in found.items()}


def race(
    base: Contender,
    other: Contender,
    feed: Feed,
    blocks: int,
    heard: Callable[[int], None],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Milliseconds of the fastest run per block, for both. In a block one build runs several times, then the other: the
    first run of each finds the caches as the other left them and does not count. Who begins changes from block to
    block; `heard` is told how many are done."""
    pair = (base, other)
    for build in pair:
        for _ in range(_WARM_UP):
            build.run(feed)
    slowest = max(_timed(build, feed, clock) for build in pair)
    runs = min(_MOST, max(_FEWEST, math.ceil(_BLOCK_SECONDS / max(slowest, 1e-9))))
    found: tuple[list[float], list[float]] = ([], [])
    for block in range(blocks):
        for side in (0, 1) if block % 2 == 0 else (1, 0):
            pair[side].run(feed)
            found[side].append(1e3 * min(_timed(pair[side], feed, clock) for _ in range(runs)))
        heard(block + 1)
    return found


def _timed(build: Contender, feed: Feed, clock: Callable[[], float]) -> float:
    start = clock()
    build.run(feed)
    return clock() - start
