"""What a run on an emulated core decides of budgets: what the linker and the counter said of the C."""

from __future__ import annotations

import math

from qdsl.harness.measurements import COUNTED, LINKED
from qdsl.measure.budgets import Name, Reading
from qdsl.spec.emulated import Emulated, Memory

_DECIDES = (*LINKED, COUNTED)


def readings(found: Emulated | None, why: str = "", memory: Memory | None = None) -> dict[Name, Reading]:
    """Flash and RAM in bytes, the stack in RAM, and instructions of a run; `why` nothing was run, where that was to
    be. Then `memory` decides flash, and RAM where it is too much without the stack already."""
    if found is None:
        unknown = Reading(math.nan, source=f"not built: {why}")
        known: dict[Name, Reading] = {(name, ()): unknown for name in _DECIDES} if why else {}
        return known | (_foreseen(memory) if memory is not None else {})
    linker = f"by the linker, {found.compiler}"
    return {
        ("flash", ()): Reading(float(found.flash), source=linker),
        ("ram", ()): Reading(
            float(found.ram + found.stack), source=f"{linker}; {found.stack} bytes of it stack, measured"
        ),
        ("instructions", ()): Reading(float(found.instructions), source=found.label),
    }


def _foreseen(memory: Memory) -> dict[Name, Reading]:
    source = f"foreseen for {memory.compiler}, not linked here"
    stack = f"{source}: without the stack, which only a run shows"
    return {
        ("flash", ()): Reading(float(memory.flash), source=source),
        ("ram", ()): Reading(float(memory.ram), source=stack, at_least=True),
    }
