"""Time two builds that run on this machine against each other, in turns: for the benches of targets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from qdsl.targets.base import Feed, Runner, Turns

# Seconds that one build runs per block, and how many runs that is at least and at most.
_BLOCK_SECONDS = 0.15
_FEWEST, _MOST = 3, 200
_WARM_UP = 3


def race(
    base: Runner,
    other: Runner,
    feed: Feed,
    blocks: int,
    heard: Callable[[int], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Turns:
    """Milliseconds of the fastest run per block, for both. In a block one build runs several times, then the other: the
    first run of each finds the caches as the other left them and does not count. Who begins changes from block to
    block; `heard` is told how many are done."""
    pair = (base, other)
    for build in pair:
        for _ in range(_WARM_UP):
            build.run(feed)
    slowest = max(_timed(build, feed, clock) for build in pair)
    runs = min(_MOST, max(_FEWEST, math.ceil(_BLOCK_SECONDS / max(slowest, 1e-9))))
    found: Turns = ([], [])
    for block in range(blocks):
        for side in (0, 1) if block % 2 == 0 else (1, 0):
            pair[side].run(feed)
            found[side].append(1e3 * min(_timed(pair[side], feed, clock) for _ in range(runs)))
        heard(block + 1)
    return found


def _timed(build: Runner, feed: Feed, clock: Callable[[], float]) -> float:
    start = clock()
    build.run(feed)
    return clock() - start
