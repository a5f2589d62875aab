"""What `check.py` finds of an artifact on one machine: plain data, read strictly. Loaded without numpy or a runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from qdsl.spec.bounds import Check as Checks
from qdsl.spec.bounds import Count, Figure, Keyed, Many, Text, UnfitError, Whole
from qdsl.spec.decode import decode


@dataclass(frozen=True, slots=True)
class Agreement:
    """An output of one model on the device, held against another of the same model: signal-to-noise ratio in dB (None:
    equal; NaN: of another shape) and the largest difference."""

    build: str
    output: str
    sqnr_db: float | None
    max_error: float


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The artifact's outputs over the first `samples` as it runs on the device, held against the same file without the
    runtime's optimizations there."""

    samples: int
    outputs: tuple[Agreement, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What of the float model an output of the artifact keeps, as signal-to-noise ratio in dB (None: equal; NaN: not
    comparable): as the graph says, and as it runs on the machine."""

    output: Annotated[str, Text(1000)]
    planned_db: Figure | None
    here_db: Figure | None


@dataclass(frozen=True, slots=True)
class Check:
    """What an artifact computes on one machine, over the first `samples` of its bundle. `cpu` is the processor that was
    asked for, "" for this machine as it is; `unordered` are the outputs that are not compared, each with why;
    `sums_exact` where the products are known to add up there, of a file that nothing was planned for; the other fields
    are those of a `Device`."""

    target: str
    cpu: str
    environment: Mapping[str, str]
    emulated: bool
    samples: int
    agreement: tuple[Agreement, ...]
    arithmetic: Arithmetic | None
    fidelity: tuple[Kept, ...]
    operators: Mapping[str, int]
    kernels: tuple[tuple[str, int, int], ...]
    unordered: Mapping[str, str] = field(default_factory=dict)
    sums_exact: bool = False

    @property
    def label(self) -> str:
        """`emulated (cortex-a76, qemu 7.2)`, or what this machine's processor is called."""
        return emulated_words(self.environment) if self.emulated else self.environment.get("processor", "unknown")

    @property
    def as_predicted(self) -> bool:
        return all(predicted == real for _, predicted, real in self.kernels)

    @property
    def compared(self) -> tuple[Agreement, ...]:
        """Every comparison: with the graph's own arithmetic here, and with that of the bundle."""
        return (*(self.arithmetic.outputs if self.arithmetic else ()), *self.agreement)

    def loss(self, output: str) -> float:
        """What of the float model an output loses to the kernels of this machine beside what was planned, in dB: NaN
        where that is not known."""
        kept = next((each for each in self.fidelity if each.output == output), None)
        if kept is None or kept.here_db is None:
            return math.nan if kept is None else 0.0
        return (math.inf if kept.planned_db is None else kept.planned_db) - kept.here_db

    def lowest(self, output: str) -> float:
        """The lowest signal-to-noise ratio of an output in dB: infinite where it is equal, NaN where its shape is
        another."""
        found = [math.inf if each.sqnr_db is None else each.sqnr_db for each in self.compared if each.output == output]
        return math.nan if any(math.isnan(each) for each in found) else min(found, default=math.nan)


def emulated_words(environment: Mapping[str, str]) -> str:
    """`emulated (cortex-a76, qemu 7.2)`"""
    return f"emulated ({environment.get('emulator') or 'unknown'})"


# ---- reading ---------------------------------------------------------------------------------------------------------


def _negative(found: float) -> str:
    return "expected a number from 0" if found < 0 else ""


@dataclass(frozen=True, slots=True)
class _Apart:
    sqnr_db: Figure | None
    max_error: Annotated[Figure, Checks(_negative)]


_MANY = Many(most=1000)  # entries of an object
Name = Annotated[str, Text(1000)]
Words = Annotated[Mapping[Name, Annotated[str, Text(300)]], _MANY]  # facts about a machine, by name
_Outputs = Annotated[Mapping[Name, _Apart], _MANY]
_Counts = Annotated[Mapping[Name, Annotated[int, Whole(1)]], _MANY]


@dataclass(frozen=True, slots=True)
class _StoredArithmetic:
    samples: Annotated[int, Whole(1)]
    outputs: _Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the scripts of a bundle tell of a machine, as it stands in their document: `goldens` and `operators` by
    build, `kernels` as (predicted, ran)."""

    environment: Words
    emulated: bool
    samples: Annotated[int, Whole(1)]
    goldens: Mapping[Name, _Outputs]
    arithmetic: _StoredArithmetic | None
    fidelity: Annotated[tuple[Kept, ...], Keyed("output"), _MANY]
    operators: Mapping[Name, _Counts]
    kernels: Annotated[Mapping[Name, tuple[Count, Count]], _MANY]

    def common(self, target: str, *builds: str) -> dict[str, Any]:
        """The fields that a `Check` and a `Device` share, of a document that speaks of `builds`. Raises UnfitError
        where it speaks of others, or contradicts itself."""
        require_builds(self.goldens, builds, "goldens")
        require_builds(self.operators, builds, "operators")
        ran = self.operators[target]
        for name, (_, real) in self.kernels.items():
            if real != ran.get(name, 0):
                wanted = f"expected {ran.get(name, 0)} that ran, as among the operators"
                raise UnfitError(wanted, f".kernels.{name}")
        written = self.arithmetic
        return {
            "environment": self.environment,
            "emulated": self.emulated,
            "samples": self.samples,
            "agreement": tuple(each for build in builds for each in _agreement(build, self.goldens[build])),
            "arithmetic": written and Arithmetic(written.samples, _agreement(target, written.outputs)),
            "fidelity": self.fidelity,
            "kernels": tuple((name, *counts) for name, counts in self.kernels.items()),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked(Told):
    unordered: Annotated[Mapping[Name, Name], _MANY]
    sums_exact: bool = False


def checked(content: Any, target: str, cpu: str = "") -> Check:
    """What `check.py --json` printed about `target`, from plain data. Raises UnfitError."""
    told = decode(_Checked, content, "check")
    common = told.common(target, target)
    return Check(
        target=target,
        cpu=cpu,
        operators=told.operators[target],
        unordered=told.unordered,
        sums_exact=told.sums_exact,
        **common,
    )


def require_builds(found: Mapping[str, Any], builds: Sequence[str], where: str) -> None:
    """Raises UnfitError where what stands at `where` is not by just these builds."""
    if found.keys() != set(builds):
        raise UnfitError(f"expected the keys {', '.join(builds)}", f".{where}")


def _agreement(build: str, outputs: Mapping[str, _Apart]) -> tuple[Agreement, ...]:
    return tuple(Agreement(build, name, each.sqnr_db, each.max_error) for name, each in outputs.items())
