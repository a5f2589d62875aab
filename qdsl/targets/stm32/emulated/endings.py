"""How a program on the emulated core ended, in words: what project/emulated.c leaves where it cannot go on."""

from __future__ import annotations

import struct
from pathlib import Path

from qdsl.spec.words import plain
from qdsl.targets.stm32.emulated.sections import Layout

# Exit statuses of project/emulated.c.
_WORDS = {
    10: "network_init or network_run refuses",
    11: "a file was not read or written: there is no room, or a sample ends too early",
    13: "it used all of its stack",
    14: "CMSIS-NN asks for more scratch than the arena has for it, or refuses",
}
_FAULT = 12
_FAULTS = struct.Struct("<6I")  # CFSR, HFSR, MMFAR, BFAR, stack pointer, program counter
_MEMORY_FAULT, _BUS_FAULT = 1 << 7, 1 << 15  # of CFSR: the address is known
_LOCKED = "Lockup"
_SAID, _MOST = 200, 1 << 16


def why(status: int | None, folder: Path, layout: Layout, seconds: float) -> str:
    """Why it did not end well. `status` is QEMU's, None where it was ended after so many seconds; `folder` is where it
    ran, `layout` is the program's."""
    if status is None:
        return f"it took more than {seconds:g} s and was ended"
    if status == _FAULT:
        return _fault(folder / "fault", layout)
    if status in _WORDS:
        return _WORDS[status]
    said = _said(folder / "said")
    if _LOCKED in said:
        return "the core locked up: a fault within a fault"
    lines = [line for line in said.splitlines() if line.strip()]
    return f"QEMU ended with {status}" + (f": {plain(lines[-1])[:_SAID]}" if lines else "")


def _said(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST).decode("utf-8", "replace")


def _fault(path: Path, layout: Layout) -> str:
    """Which access the core refused, and in which function."""
    content = path.read_bytes() if path.is_file() else b""
    if len(content) != _FAULTS.size:
        return "the core faulted, and says nothing of it"
    status, _, memory, bus, stack, counter = _FAULTS.unpack(content)
    name = layout.at(counter)
    place = f" in {name}" if name else ""
    if status & _MEMORY_FAULT:
        return f"the core faulted{place}: an access to 0x{memory:08x}, which is no memory that it may use so"
    if status & _BUS_FAULT:
        return f"the core faulted{place}: there is nothing at 0x{bus:08x}"
    return f"the core faulted{place} (CFSR 0x{status:08x}, stack pointer 0x{stack:08x})"
