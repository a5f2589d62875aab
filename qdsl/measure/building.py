"""What devices run, made of artifacts on this machine and timed: taken in beside the build, and what it decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.harness import devices, engines
from qdsl.harness.measurements import Measurements
from qdsl.measure.devices import decided, take_in
from qdsl.measure.measuring import Made
from qdsl.spec.words import plain
from qdsl.targets import target_of
from qdsl.targets.results import Built, NotHere


@dataclass(frozen=True, slots=True)
class TargetBuilt:
    """What came of building for one target; NotHere where that cannot be done here, with how to get it."""

    target: str
    found: Built | NotHere

    @property
    def failed(self) -> bool:
        """Whether it was tried, and did not end well."""
        return isinstance(self.found, Built) and bool(self.found.problem)

    @property
    def words(self) -> str:
        """`tensorrt: built and timed in 42 s by trtexec 10.3.0 on NVIDIA A10`."""
        if isinstance(self.found, NotHere):
            return f"{self.target}: NOT BUILT: {plain(self.found.why)}"
        if self.found.problem:
            return f"{self.target}: BROKEN: {plain(self.found.problem)}"
        return f"{self.target}: built and timed in {self.found.seconds:.0f} s by {plain(self.found.by)}"


def built(directory: Path, made: Made, measurements: Measurements) -> TargetBuilt:
    """Build for the target of `made` and keep what is known of it in `directory`, as `report --add` does. What was
    built and cannot be read is the outcome's problem. Raises QdslError artifact-write."""
    target = made.plan.target
    found = target_of(target).build(made.emitted, made.plan)
    if isinstance(found, NotHere) or found.problem:
        return TargetBuilt(target, found)
    try:
        take_in(directory, measurements, [found.directory], found.device)
    except QdslError as error:
        if any(one.code == "artifact-write" for one in error.diagnostics):
            raise
        told = "; ".join(f"{one.headline} {one.label}".strip() for one in error.diagnostics)
        return TargetBuilt(target, replace(found, problem=told))
    return TargetBuilt(target, found)


def settled(directory: Path, measurements: Measurements) -> Measurements:
    """`measurements` with the budgets that engines and devices decide, of all that is kept in `directory`."""
    of_devices, _ = devices.kept(directory, measurements)
    of_engines, _ = engines.kept(directory, measurements)
    return decided(measurements, of_devices, of_engines)


def changed(before: Measurements, after: Measurements) -> Measurements:
    """`after` with nothing but the budgets that were decided otherwise `before`."""
    pairs = zip(before.builds, after.builds, strict=True)
    builds = (
        replace(now, budgets=tuple(each for each in now.budgets if each not in old.budgets), activations=None)
        for old, now in pairs
    )
    return replace(after, builds=tuple(builds))


def faults(found: Sequence[TargetBuilt]) -> Iterator[Diagnostic]:
    """An error for each that failed."""
    for each in found:
        if each.failed and isinstance(each.found, Built):
            headline = f"what `{each.target}` runs on its device cannot be built or timed here"
            cures = (
                f"run its steps by hand in `{each.found.directory}`: they tell more",
                "`qdsl doctor` says what is here",
            )
            yield Diagnostic("device-build", headline, label=plain(each.found.problem), help=cures)
