"""What profiling returns. Plain data, loaded without numpy or a runtime; annotations say how it stands in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Annotated

from qdsl.harness.results import FLOAT
from qdsl.harness.worker import TURNS
from qdsl.spec.bounds import SPARE, Check, Count, FileName, Finite, Keyed, Number, Stands, Via, Whole

COST = ("seconds", "cpu", "peak_memory", "bare_memory", "memory_runs", "energy")
HERE = "this machine"
FORMS = ("mean", "p50", "p90", "p95", "p99", "max")
_SHORTEST, _LONGEST = 1e-12, 1e6  # seconds of a run: of all on average, and of each
_MOST_CPU, _MOST_ENERGY = 1e6, 1e9  # processors busy, joules per run


def _timeless(seconds: tuple[float, ...]) -> str:
    real = seconds and math.fsum(seconds) >= _SHORTEST * len(seconds)
    return "" if real else "expected the seconds of at least one run"


@dataclass(frozen=True, slots=True)
class BuildProfile:
    """One model's cost per run. `seconds` are those of every measured run, in order; `cpu` is processor time over wall
    time (2.0: two processors busy); memory in bytes of the whole process, at its peak and before the model was loaded;
    `energy` in joules per run, of the whole package. None: this system does not say. `memory_runs` are (runs done,
    bytes held then), from loading to the last turn."""

    build: str
    seconds: Annotated[tuple[Annotated[float, Number(0.0, _LONGEST)], ...], Check(_timeless)]
    cpu: Annotated[float, Number(0.0, _MOST_CPU)]
    peak_memory: Count | None
    bare_memory: Count | None
    energy: Annotated[float, Number(0.0, _MOST_ENERGY)] | None = None
    memory_runs: tuple[tuple[Count, Count], ...] = ()

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
        """In seconds: one of `FORMS`."""
        if form == "mean":
            return self.mean
        return self.percentile(1.0 if form == "max" else int(form[1:]) / 100)


def _other_forms(found: Mapping[str, float]) -> str:
    return "" if found.keys() == set(FORMS) else f"expected the keys {', '.join(FORMS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredBuild(BuildProfile):
    """With what follows from the seconds: that stands in the file for other readers."""

    latencies: Annotated[Mapping[str, Finite], Stands("latency"), Check(_other_forms)]
    throughput: Finite


def _builds(found: tuple[_StoredBuild, ...]) -> tuple[BuildProfile, ...]:
    return tuple(BuildProfile(**{name: getattr(each, name) for name in ("build", *COST)}) for each in found)


@dataclass(frozen=True, slots=True)
class Profile:
    """Every model of one build, measured in turns on one machine: `threads` 0 is as many as the runtime takes. `others`
    is the share of all processors that other work took meanwhile, where that left too little (0: it did not, or the
    system does not tell). `decides` is False where another software ran them than the one that the target's artifacts
    are for: then no budget is decided by it."""

    target: FileName
    batch: Annotated[int, Whole(1)]
    threads: Count
    warmup: Count
    builds: Annotated[tuple[BuildProfile, ...], Via(Annotated[tuple[_StoredBuild, ...], Keyed("build")], _builds)]
    environment: dict[str, str]
    measured_on: str = HERE
    others: Annotated[float, Number(0.0, 1.0)] = 0.0
    decides: Annotated[bool, SPARE] = True

    def problem(self) -> str:
        """Whether the builds are those of a profile, in words; "" where they are."""
        named = [each.build for each in self.builds] == [FLOAT, self.target]
        return "" if named else f"expected the builds {FLOAT} and {self.target}"

    @property
    def aside(self) -> str:
        """That its figures are no measure of the target's artifacts, in words; "" where they are."""
        return "" if self.decides else "the provider's figures, not an engine's: they decide no budget"

    @property
    def runs(self) -> int:
        return len(self.builds[0].seconds)

    def of(self, build: str) -> BuildProfile:
        """The figures of one build; KeyError when it is not there."""
        return {found.build: found for found in self.builds}[build]

    def throughput(self, build: str) -> float:
        """Samples per second, one run after the other."""
        return self.batch / self.of(build).mean
