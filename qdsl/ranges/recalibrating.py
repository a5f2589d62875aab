"""Ranges by other methods than those of a build, from some of its samples: to try them, not to ship them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qdsl import calibrate
from qdsl.calibrate import Observations, Ranges, Request
from qdsl.data import Dataset
from qdsl.graph import Model
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.calibrating import how_measured, requests
from qdsl.spec.plan import Plan

MOST = 64  # samples that are looked at again
Heard = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Sampled:
    """Ranges, and for each dataset that was looked at again how many of its samples."""

    ranges: Ranges
    seen: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The ranges of a build, and the data they are from. What was seen of a dataset answers for every method that
    counts, so that one pass serves them all."""

    model: Model
    ranges: TargetRanges
    datasets: Mapping[str, Dataset]
    heard: Heard
    _seen: dict[tuple[str, tuple[Request, ...]], Observations] = field(default_factory=dict)

    def of(self, plan: Plan) -> Sampled | None:
        """The ranges that `plan` asks for: those of its target in the build where these are the same, else from at most
        MOST samples, spread over the dataset. None where its samples are not at hand. Raises QdslError as calibration
        does."""
        how, known = how_measured(plan), self.ranges.of(plan.target)
        found, seen = known, dict[str, int]()
        for name, asked in requests(plan).items():
            other = [each for each in asked if known.methods.get(each.tensor) != how[each.tensor]]
            if not other:
                continue
            if name not in self.datasets:
                return None
            anew = self._observed(name, other).ranges(calibrate.plan_ways(self.model, other))
            low, high = {**found.low, **anew.low}, {**found.high, **anew.high}
            found = replace(found, low=low, high=high, methods={**found.methods, **how})
            seen[name] = anew.samples
        return Sampled(found, seen)

    def _observed(self, name: str, asked: Sequence[Request]) -> Observations:
        key = (name, tuple(_plain(each) for each in asked))
        if key not in self._seen:
            dataset = self.datasets[name]
            every = -(-len(dataset) // MOST)
            count = -(-len(dataset) // every)

            def progress(done: int, total: int, rate: float) -> None:
                self.heard(f"other calibrations on {count} samples of {name}", done, total)

            found = calibrate.observe(self.model, [asked], dataset, shard=(0, every), progress=progress)
            self._seen[key] = replace(found, total=len(found.done))
        return self._seen[key]


def _plain(asked: Request) -> Request:
    """What has to be seen to answer: the same for all methods that count."""
    return replace(asked, method="mse", percentile=None, symmetric=False, levels=0) if asked.counted else asked
