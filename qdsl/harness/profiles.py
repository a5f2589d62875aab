"""What profiling returns. Plain data, loaded without numpy or a runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from qdsl.harness.worker import TURNS


@dataclass(frozen=True, slots=True)
class BuildProfile:
    """One model's cost per run. `seconds` are those of every measured run, in order; `cpu` is processor time over wall
    time (2.0: two processors busy); memory in bytes of the whole process, at its peak and before the model was loaded;
    `energy` in joules per run, of the whole package. None: this system does not say. `memory_runs` are (runs done,
    bytes held then), from loading to the last turn."""

    build: str
    seconds: tuple[float, ...]
    cpu: float
    peak_memory: int | None
    bare_memory: int | None
    energy: float | None = None
    memory_runs: tuple[tuple[int, int], ...] = ()

    def percentile(self, share: float) -> float:
        """The latency in seconds that `share` (0..1) of the runs do not exceed, by nearest rank."""
        rising = sorted(self.seconds)
        return rising[max(0, math.ceil(share * len(rising)) - 1)]

    @property
    def turns(self) -> tuple[float, ...]:
        """The median seconds of each turn: models are measured in turns, `take_turns` in `qdsl.harness.worker`."""
        count, start, found = min(TURNS, len(self.seconds)), 0, []
        for turn in range(count):
            length = len(self.seconds) // count + (turn < len(self.seconds) % count)
            found.append(median(self.seconds[start : start + length]))
            start += length
        return tuple(found)

    @property
    def mean(self) -> float:
        return math.fsum(self.seconds) / len(self.seconds)

    def latency(self, form: str = "p50") -> float:
        """In seconds: `mean`, `p50`, `p90`, `p95`, `p99` or `max`."""
        if form == "mean":
            return self.mean
        return self.percentile(1.0 if form == "max" else int(form[1:]) / 100)


@dataclass(frozen=True, slots=True)
class Profile:
    """Every model of one build, measured in turns on one machine: `threads` 0 is as many as the runtime takes. `others`
    is the share of all processors that other work took meanwhile, where that left too little (0: it did not, or the
    system does not tell)."""

    target: str
    batch: int
    threads: int
    warmup: int
    builds: tuple[BuildProfile, ...]
    environment: dict[str, str]
    measured_on: str = "this machine"
    others: float = 0.0

    @property
    def runs(self) -> int:
        return len(self.builds[0].seconds)

    def of(self, build: str) -> BuildProfile:
        """The figures of one build; KeyError when it is not there."""
        return {found.build: found for found in self.builds}[build]

    def throughput(self, build: str) -> float:
        """Samples per second, one run after the other."""
        return self.batch / self.of(build).mean
