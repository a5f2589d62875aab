"""What verbs tell while they work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdsl.harness import Evaluation
    from qdsl.harness.checks import Check
    from qdsl.harness.engine_checks import EngineCheck
    from qdsl.harness.measurements import Measurements
    from qdsl.harness.profiles import Profile
    from qdsl.measure.measuring import Made
    from qdsl.spec.emulated import Emulated


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `stage` is model, equalize, wait, calibrate, allocate, round, tune, lock, rewrite,
    tuned, evaluate, profile, verify, require, try, causes, engine, build or a target's name; `text` says what. While
    calibrating and evaluating, `done` of `total` samples (at `rate` samples per second), while rounding samples, then
    layers, while tuning `done` of `total` blocks, while profiling runs; zeros when it speaks of the whole stage.
    `found` is a result, told as soon as it is known: last, with `require`, all that is known of the builds, budgets
    decided."""

    stage: str
    text: str
    done: int = 0
    total: int = 0
    rate: float = 0.0
    found: Made | Check | EngineCheck | Evaluation | Profile | Emulated | Measurements | None = None


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that nobody listens to."""
