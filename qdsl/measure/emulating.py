"""What a run on an emulated core decides of budgets: what the linker and the counter said of the C."""

from __future__ import annotations

import math

from qdsl.measure.budgets import Name, Reading
from qdsl.spec.emulated import Emulated

_DECIDES = ("flash", "ram", "instructions")


def readings(found: Emulated | None, why: str = "") -> dict[Name, Reading]:
    """Flash and RAM in bytes, the stack in RAM, and instructions of a run; `why` nothing was run, where that was to
    be."""
    if found is None:
        unknown = Reading(math.nan, source=f"not built: {why}")
        return {(name, ()): unknown for name in _DECIDES} if why else {}
    linker = f"by the linker, {found.compiler}"
    return {
        ("flash", ()): Reading(float(found.flash), source=linker),
        ("ram", ()): Reading(
            float(found.ram + found.stack), source=f"{linker}; {found.stack} bytes of it stack, measured"
        ),
        ("instructions", ()): Reading(float(found.instructions), source=found.label),
    }
