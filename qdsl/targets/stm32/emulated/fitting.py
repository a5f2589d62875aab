"""Which emulated core stands in for a board, and how much memory a program has on it."""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.targets.results import NotHere
from qdsl.targets.stm32.boards import Board
from qdsl.targets.stm32.emulated.building import MOST, Limits

# A Cortex-M33 has the Cortex-M4's instructions and some more, which emitted C does not use.
_CORES = {"Cortex-M7": "cortex-m7", "Cortex-M4": "cortex-m4", "Cortex-M33": "cortex-m4"}


@dataclass(frozen=True, slots=True)
class Fit:
    """`core` is one of CORES."""

    core: str
    limits: Limits


def fit(board: Board | None) -> Fit | NotHere:
    """A Cortex-M7 with as much memory as is emulated where no board is named."""
    if board is None:
        return Fit("cortex-m7", Limits(MOST, MOST))
    core = _CORES.get(board.core)
    if core is None:
        return NotHere(f"no {board.core} is emulated with memory enough")
    if core == "cortex-m7" and board.fpu == "none":
        core = "cortex-m7 soft float"
    stack, ram = Limits().stack, board.largest.bytes
    apart = any(bank is not board.largest and bank.bytes >= stack for bank in board.ram)
    return Fit(core, Limits(board.flash_bytes, ram if apart else ram - stack, stack, board.name))
