"""Whether a plan, and what was made of it, fits the board that a recipe names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qdsl.diag import Diagnostic, Severity
from qdsl.lang.recipe import Require, Target
from qdsl.spec.plan import Plan
from qdsl.targets.results import Emitted
from qdsl.targets.stm32 import latency
from qdsl.targets.stm32.asked import asked
from qdsl.targets.stm32.boards import Board
from qdsl.targets.stm32.manifest import memory_on, read_c


def unfit(block: Target, plan: Plan, requires: Iterable[Require], emitted: Emitted | None) -> Iterator[Diagnostic]:
    """Memory that the board does not have, at the line of `device`, once it is known what the C takes; a latency that
    its core cannot reach, at the line that demands it; integers for inputs that have no scale before it runs."""
    if block.io is not None and plan.mode == "dynamic":
        headline = "`io int8` needs scales, and `quantize dynamic` finds those of inputs while the network runs"
        yield Diagnostic("target-cannot", headline, block.place("io"), help=("take `io` out, or `quantize static`",))
    board = asked(plan).board
    if board is None:
        return
    if not plan.totals.uncounted:
        yield from _too_fast(board, plan, requires)
    if emitted is not None:
        yield from tuple(_too_large(board, block, plan, emitted)) or _predicted(board, block, plan)


def _too_fast(board: Board, plan: Plan, requires: Iterable[Require]) -> Iterator[Diagnostic]:
    least = latency.least(board, plan.totals.macs)
    for require in requires:
        demanded = require.bound.base if require.bound is not None else None
        if require.metric.name != "latency" or require.form != "value" or require.comparison not in ("<", "<="):
            continue
        if demanded is None or demanded >= least:
            continue
        needed = plan.totals.macs / (demanded * board.clock * 1e6)
        headline = f"no {board.core} at {board.clock} MHz runs this in {latency.milliseconds(demanded)}"
        label = (
            f"{plan.totals.macs:,} multiplications would be {needed:.1f} per cycle, and its instructions "
            f"do {latency.per_cycle(board):g} at most: {latency.milliseconds(least)}"
        )
        found = latency.words(board, plan)
        cures = ((found,) if found else ()) + ("take a smaller model, or a faster board",)
        yield Diagnostic("latency-impossible", headline, require.span, label, cures)


def _predicted(board: Board, block: Target, plan: Plan) -> Iterator[Diagnostic]:
    """What a run will take, which nothing here measures: a note, never a figure that decides."""
    found = latency.words(board, plan)
    if found:
        label = "a range: run it there to know"
        yield Diagnostic("latency-predicted", found, block.place("device"), label, severity=Severity.NOTE)


def _too_large(board: Board, block: Target, plan: Plan, emitted: Emitted) -> Iterator[Diagnostic]:
    made, bank, place = read_c(emitted.manifest), board.largest, block.place("device")
    linked = memory_on(made, board)
    flash, ram = (linked.flash, linked.ram) if linked is not None else (made.constant_bytes, made.arena_bytes)
    smaller = ["write `optimize ram`"] if made.optimize == "speed" else []
    if ram > bank.bytes:
        headline = f"the network takes {ram:,} bytes of RAM, and {board.name} has {bank.bytes:,} in one piece"
        floats = made.io != "int8" and plan.mode == "static"
        cures = ["write `io int8`: floats of inputs take four times as much"] if floats else []
        label = f"{bank.name}, from 0x{bank.address:08X} on"
        help = (*smaller, *cures, "take a smaller model or input")
        yield Diagnostic("board-too-small", headline, place, label, help)
    if flash > board.flash_bytes:
        headline = f"the network takes {flash:,} bytes of flash, and {board.name} has {board.flash_bytes:,}"
        yield Diagnostic("board-too-small", headline, place, help=(*smaller, "take a smaller model"))
