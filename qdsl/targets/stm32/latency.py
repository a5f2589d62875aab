"""How long a run takes on a board: predicted, as a range, from what others have published; never measured here.

Cycles per multiplication, computed from published latencies, clocks and models. Cortex-M7: MLPerf Tiny, closed
division, X-CUBE-AI 9.0 and Plumerai on an STM32H7A3 at 280 MHz, 0.89 to 1.46; ST's model zoo, Core 10.0 on an
STM32H747I-DISCO at 400 MHz, 1.3 to 2.0. Cortex-M4: MLPerf Tiny, X-CUBE-AI, 1.42 to 1.95.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.spec.plan import Plan
from qdsl.targets.stm32.boards import Board

CYCLES: Mapping[str, tuple[float, float]] = {"Cortex-M7": (0.9, 2.0), "Cortex-M4": (1.4, 2.0)}
# Multiplications that a core cannot exceed per cycle: SMLAD adds two products, without it a MULS and an ADDS add one.
_PAIRS, _SINGLE = 2.0, 0.5


def predicted(board: Board, macs: int) -> tuple[float, float] | None:
    """Seconds of a run of so many multiplications, from and to; None for a core of which nothing is published here."""
    cycles = CYCLES.get(board.core)
    if cycles is None:
        return None
    low, high = (macs * each / (board.clock * 1e6) for each in cycles)
    return low, high


def least(board: Board, macs: int) -> float:
    """Seconds that no program can be faster than on that core."""
    return macs / (per_cycle(board) * board.clock * 1e6)


def per_cycle(board: Board) -> float:
    """Multiplications per cycle at most."""
    return _PAIRS if board.dsp else _SINGLE


def words(board: Board, plan: Plan) -> str:
    """The range in words; "" where there is none, and where some multiplications are not known. What is published is of
    networks in integers alone."""
    totals = plan.totals
    floats = plan.mode == "dynamic" or totals.integer_macs < totals.macs
    found = None if totals.uncounted or floats else predicted(board, totals.macs)
    if found is None:
        return ""
    low, high = CYCLES[board.core]
    return (
        f"latency on {board.name}: predicted {milliseconds(found[0])} to {milliseconds(found[1])} "
        f"({low:g} to {high:g} cycles per multiplication, as published for a {board.core}, at {board.clock} MHz)"
    )


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
