"""Time two builds against each other in ONNX Runtime, in turns; hold a build's outputs against the float model's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qdsl.calibrate import Ranges
from qdsl.graph import Model, save
from qdsl.spec.plan import Plan
from qdsl.targets.ort.agreement import Agreement
from qdsl.targets.ort.emit import quantize
from qdsl.targets.ort.run import OrtRunner
from qdsl.targets.ort.session import session_options

# Seconds that one build runs per block, and how many runs that is at least and at most.
_BLOCK_SECONDS = 0.15
_FEWEST, _MOST = 3, 200
_WARM_UP = 3
Feed = Mapping[str, Any]


def contender(model: Model, plan: Plan | None, ranges: Ranges, folder: Path, threads: int) -> OrtRunner:
    """The build of `plan` (None: the float model itself) as it is shipped, with the session options that it asks for.
    It is written into `folder` for the time of loading. Raises QdslError `artifact-refused` where it does not load."""
    made = model if plan is None else quantize(model, plan, ranges)[0]
    entries = {} if plan is None else session_options(plan)
    what = "the float model" if plan is None else "the quantized model"
    written = save(made, folder / "model.onnx")
    try:
        return OrtRunner(what, written[0], entries, threads)
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def fidelity(build: OrtRunner, reference: Sequence[Feed], feeds: Sequence[Feed]) -> dict[str, float]:
    """Signal-to-noise ratio in dB of each output, over all feeds; -inf where it cannot be compared. `reference` holds
    the float model's outputs per feed, by name."""
    sums = {name: Agreement() for name in build.outputs}
    for feed, expected in zip(feeds, reference, strict=True):
        got = build.run(feed)
        for name, total in sums.items():
            total.add(expected[name], got[name])
    found = {name: total.sqnr_db for name, total in sums.items()}
    return {name: -math.inf if value is None else value for name, value in found.items()}


def race(
    base: OrtRunner,
    other: OrtRunner,
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


def _timed(build: OrtRunner, feed: Feed, clock: Callable[[], float]) -> float:
    start = clock()
    build.run(feed)
    return clock() - start
