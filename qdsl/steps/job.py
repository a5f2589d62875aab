"""What one compilation works on: what was asked for, and what each step leaves for those after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from qdsl.causes.records import Causes
from qdsl.data import Dataset
from qdsl.diag import Diagnostics
from qdsl.engines.asked import Examination
from qdsl.harness import Evaluation, emulators
from qdsl.harness.checks import Check
from qdsl.harness.engine_checks import EngineCheck
from qdsl.harness.measurements import Measurements
from qdsl.harness.profiles import Profile
from qdsl.harness.tasks import Expected
from qdsl.lang import Loaded
from qdsl.lock import Chosen
from qdsl.measure.budgets import Budget
from qdsl.measure.building import TargetBuilt
from qdsl.measure.events import Event, Listener, silent
from qdsl.measure.measuring import Made, Measured
from qdsl.plan import Decisions
from qdsl.provenance.records import CARRIED
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.calibrating import Calibrator
from qdsl.ranges.locking import Pinned, Wish
from qdsl.ranges.rounding import Weights
from qdsl.spec.plan import Plan
from qdsl.work.assigned import Given
from qdsl.work.prepared import Prepared

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effort:
    """How calibration is spread: `workers` threads that take `batch` samples at a time (None: chosen by the machine),
    in `shards` processes run by `engine`. Raises ValueError for less than one."""

    workers: int | None = None
    batch: int | None = None
    shards: int = 1
    engine: str = "local"

    def __post_init__(self) -> None:
        for name, count in (("workers", self.workers), ("batch", self.batch), ("shards", self.shards)):
            if count is not None and (not isinstance(count, int) or count < 1):
                raise ValueError(f"`{name}` is {count!r}: expected None or a whole number from 1")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller asks for: see `qdsl.compile`."""

    path: Path
    out: Path
    target: str | None = None
    sets: Mapping[str, str] = field(default_factory=dict)
    lock: Wish = field(default_factory=Wish)
    effort: Effort = field(default_factory=Effort)
    measure: bool = True
    on: Sequence[str] = ()
    allow_python: bool = False
    provenance: str = "text"
    causes: bool = False
    check: str | None = None
    capability: str | None = None
    build: bool = False

    def __post_init__(self) -> None:
        if self.provenance not in CARRIED:
            raise ValueError(f"`provenance` is {self.provenance!r}: expected one of {', '.join(CARRIED)}")


class OrderError(RuntimeError):
    """A step ran before another that it needs, or for the second time: a fault of whoever ordered the steps."""


class Left(Generic[T]):
    """A value of the job that `step` leaves, once. Who reads it before raises OrderError, and so does who leaves it
    again."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, job: Job, owner: type | None = None) -> T:
        if self.name not in job.left:
            raise OrderError(f"`{self.name}` is what the step `{self.step}` leaves, which has not run")
        found: T = job.left[self.name]  # type: ignore[assignment]  # only __set__ writes there
        return found

    def __set__(self, job: Job, value: T) -> None:
        if self.name in job.left:
            raise OrderError(f"`{self.name}` is there already: the step `{self.step}` has run")
        job.left[self.name] = value


@dataclass
class Job:
    """One compilation. A step takes the job, reads what earlier ones left, and leaves its own; what it has to tell goes
    to `tell`, what is wrong and no error to `diags`. To be used as a context: what a step holds, such as the build
    folder, is held to its end."""

    wishes: Wishes
    tell: Listener = silent
    diags: Diagnostics = field(default_factory=Diagnostics)
    held: ExitStack = field(default_factory=ExitStack)
    left: dict[str, object] = field(default_factory=dict)

    calibrator = Left[Calibrator]("require")
    processors = Left[Sequence[emulators.Cpu]]("require")
    # Who builds engines of the artifacts; None where that is not asked.
    examination = Left[Examination | None]("require")
    loaded = Left[Loaded]("read")
    # The lock, compared or written later.
    pinned = Left[Pinned]("read")
    prepared = Left[Prepared]("prepare")
    # Of each target before any measurement: what the lock covers.
    planned = Left[tuple[Decisions, ...]]("plan")
    # The plans of these, with all tensors that are calibrated and locked: a choice of `allocate` may need more.
    observed = Left[tuple[Plan, ...]]("plan")
    opened = Left[Mapping[str, Dataset]]("open_data")
    # What is to be evaluated; None for no measuring at all.
    expected = Left[Sequence[Expected] | None]("foresee")
    # The ranges of the lock; None where they have to be measured.
    recalled = Left[TargetRanges | None]("recall")
    # The datasets that can be read from here on: under `--locked` perhaps none.
    datasets = Left[Mapping[str, Dataset]]("recall")
    # Ranges as measured.
    measured = Left[TargetRanges]("calibrate")
    # Of each target under the types that `allocate` gives, in order; the ranges that these plans use.
    given = Left[tuple[Given, ...]]("allocate")
    ranges = Left[TargetRanges]("allocate")
    # Of each target under what measurements choose, and new choices for the lock.
    decided = Left[tuple[Decisions, ...]]("choose")
    chosen = Left[Chosen]("choose")
    # The integers that `round` chose, and the ranges with them, as they are emitted.
    rounded = Left[Weights]("round_weights")
    carried = Left[TargetRanges]("round_weights")
    made = Left[tuple[Made, ...]]("emit")
    figures = Left[Measured]("evaluate")
    checks = Left[tuple[Check, ...]]("emulate")
    # By target; of none where that was not asked.
    engines = Left[Mapping[str, EngineCheck]]("examine")
    causes = Left[Mapping[str, Causes]]("trace")
    # By target, in order.
    budgets = Left[tuple[tuple[Budget, ...], ...]]("judge")
    measurements = Left[Measurements]("judge")
    # What devices run, made here; and the measurements with the budgets that it decides.
    built = Left[tuple[TargetBuilt, ...]]("build")
    settled = Left[Measurements]("build")
    page = Left[Path]("report")

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held.__exit__(kind, error, trace)

    @property
    def directory(self) -> Path:
        """The build's folder: artifacts go below it."""
        return self.wishes.out / self.loaded.recipe.name

    @property
    def plans(self) -> list[Plan]:
        """Those before any measurement, by target, with all that is calibrated for them."""
        return list(self.observed)

    def stage(self, name: str) -> Callable[[str, int, int], None]:
        """Who hears of the progress of one stage."""
        return lambda text, done, total: self.tell(Event(name, text, done, total))

    def result(self, found: Evaluation | Profile) -> None:
        """Tell what came out, as soon as it is known."""
        self.tell(Event("evaluate" if isinstance(found, Evaluation) else "profile", "", found=found))
