"""What `check.py` finds of an artifact on one machine: plain data, read strictly. Loaded without numpy or a runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qdsl.harness.strict import Part

NAME, _WORDS, _MANY = 1000, 300, 1000  # characters of a name and of a fact about the machine; entries of an object


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

    output: str
    planned_db: float | None
    here_db: float | None


@dataclass(frozen=True, slots=True)
class Check:
    """What an artifact computes on one machine, over the first `samples` of its bundle. `cpu` is the processor that was
    asked for, "" for this machine as it is; `unordered` are the outputs that are not compared, each with why; the other
    fields are those of a `Device`."""

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


def checked(content: Any, target: str, cpu: str = "") -> Check:
    """What `check.py --json` printed about `target`, from plain data. Raises UnfitError."""
    at = Part(content, "check").fields(
        "environment",
        "emulated",
        "samples",
        "goldens",
        "arithmetic",
        "fidelity",
        "operators",
        "kernels",
        "unordered",
    )
    operators = read_counts(at["operators"].fields(target)[target])
    goldens = at["goldens"].fields(target)[target]
    return Check(
        target=target,
        cpu=cpu,
        environment=read_words(at["environment"]),
        emulated=at["emulated"].flag(),
        samples=at["samples"].whole(1),
        agreement=tuple(read_agreement(target, name, each) for name, each in entries(goldens)),
        arithmetic=at["arithmetic"].maybe(lambda part: read_arithmetic(part, target)),
        fidelity=read_fidelity(at["fidelity"]),
        operators=operators,
        kernels=tuple(read_kernel(name, each, operators) for name, each in entries(at["kernels"])),
        unordered={name: each.text(NAME) for name, each in entries(at["unordered"])},
    )


def read_words(part: Part) -> dict[str, str]:
    """Facts about a machine, by name."""
    return {name: each.text(_WORDS) for name, each in entries(part)}


def entries(part: Part) -> list[tuple[str, Part]]:
    """The values of an object whose keys are names, as many and as long as is sensible."""
    return [(name_of(name, part), each) for name, each in part.entries(_MANY).items()]


def name_of(name: str, part: Part) -> str:
    return Part(name, part.where).text(NAME)


def read_agreement(build: str, output: str, part: Part) -> Agreement:
    at = part.fields("sqnr_db", "max_error")
    error = at["max_error"].number()
    if error < 0:
        raise at["max_error"].unfit("expected a number from 0")
    return Agreement(build, output, at["sqnr_db"].maybe(Part.number), error)


def read_arithmetic(part: Part, target: str) -> Arithmetic:
    at = part.fields("samples", "outputs")
    outputs = tuple(read_agreement(target, name, each) for name, each in entries(at["outputs"]))
    return Arithmetic(at["samples"].whole(1), outputs)


def read_fidelity(part: Part) -> tuple[Kept, ...]:
    found = []
    for name, each in entries(part):
        at = each.fields("planned_db", "here_db")
        found.append(Kept(name, at["planned_db"].maybe(Part.number), at["here_db"].maybe(Part.number)))
    return tuple(found)


def read_counts(part: Part) -> dict[str, int]:
    return {name: each.whole(1) for name, each in entries(part)}


def read_kernel(name: str, part: Part, ran: Mapping[str, int]) -> tuple[str, int, int]:
    predicted, real = (each.whole() for each in part.row(2))
    if real != ran.get(name, 0):
        raise part.unfit(f"expected {ran.get(name, 0)} that ran, as among the operators")
    return name, predicted, real
