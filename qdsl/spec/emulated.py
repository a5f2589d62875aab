"""What one run of a program on an emulated core showed. Instructions are counted, and are no cycles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec.bounds import Count, Many, Number, Sentence


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of flash, and of RAM without the stack, that a network takes as `compiler` links it: foreseen."""

    flash: Count
    ram: Count
    compiler: Sentence


@dataclass(frozen=True, slots=True)
class EmulatedStep:
    """One step of the network: the nodes that it computes, its instructions on the first sample and its
    multiplications."""

    nodes: tuple[str, ...]
    instructions: Count
    macs: Count


@dataclass(frozen=True, slots=True)
class Emulated:
    """A network on an emulated core. `label` says on which, and by what ("emulated Cortex-M7 (QEMU mps2-an500),
    instructions, not cycles"), `compiler` what compiled it. `flash` and `ram` are the linker's, in bytes, the stack not
    among them, which was measured; `instructions` and `macs` are per inference, the mean over `samples`, and `steps`
    where each step was counted. `exact`: how many of `outputs` values equal the integer arithmetic's, to the bit;
    `apart`: how far the others are from it at most, as a share of the largest value."""

    label: Sentence
    compiler: Sentence
    flash: Count
    ram: Count
    stack: Count
    instructions: Count
    macs: Count
    samples: Count
    outputs: Count
    exact: Count
    apart: Annotated[float, Number(0.0)] = 0.0
    steps: Annotated[tuple[EmulatedStep, ...], Many(0, 1 << 16)] = ()

    def problem(self) -> str:
        """What does not go together, in words; "" for nothing."""
        return "" if self.exact <= self.outputs else f"exact: expected at most {self.outputs}, found {self.exact}"

    @property
    def instructions_per_mac(self) -> float | None:
        """None where nothing is multiplied."""
        return self.instructions / self.macs if self.macs else None
