"""What a recipe asks of the C: for which board, made for what, rounded how; and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from qdsl.diag import Diagnostic
from qdsl.lang.recipe import Target
from qdsl.spec.plan import Plan
from qdsl.targets.stm32.boards import BOARDS, Board, BoardError, board_named

_NOTHING = {
    "version": "the C needs no software on the board",
    "threads": "a Cortex-M has one core that runs it",
    "cpu": "no kind of CPU takes part: the C computes the same on every core",
    "exact": "its kernels add in int32, which no product saturates",
    "high_precision": "what is not quantized computes in float32",
}


_ROUNDS = {"cmsis_nn": "tflite"}  # what kernels say of rounding


@dataclass(frozen=True, slots=True)
class Asked:
    """What C is made for; `board` None where the recipe names none."""

    board: Board | None = None
    optimize: Literal["speed", "ram"] = "speed"
    rounding: Literal["ort", "tflite"] = "ort"
    kernels: Literal["own", "cmsis_nn"] = "own"
    integers: bool = False  # whether graph inputs and outputs are int8


def asked(plan: Plan) -> Asked:
    """What the recipe of a plan asks, which `problems_of` found nothing wrong with."""
    facts = (fact for fact in plan.facts if fact.kind == "target" and fact.name == plan.target)
    said = {name: value for fact in facts for name, value in fact.settings}
    return Asked(
        board_named(said["device"]) if "device" in said else None,
        "ram" if said.get("optimize") == "ram" else "speed",
        "tflite" if "tflite" in (said.get("rounding"), _ROUNDS.get(said.get("kernels", "own"))) else "ort",
        "cmsis_nn" if said.get("kernels") == "cmsis_nn" else "own",
        "io" in said,
    )


def problems_of(block: Target) -> Iterator[Diagnostic]:
    """What is wrong with a `target stm32` block, each at its line."""
    for word, place in block.places:
        if word in _NOTHING:
            headline = f"`{word}` says nothing to STM32"
            yield Diagnostic("target-cannot", headline, place, _NOTHING[word], (f"take `{word}` out",))
    if block.io is not None and block.io.name != "int8":
        headline = f"graph inputs and outputs are int8 on STM32, not {block.io.name}"
        yield Diagnostic("target-cannot", headline, block.place("io"), help=("write `io int8`",))
    if block.kernels == "cmsis_nn" and block.rounding == "ort" and "rounding" in dict(block.places):
        yield _other_rounding(block)
    if block.device is not None:
        yield from _device(block, block.device)


def _other_rounding(block: Target) -> Diagnostic:
    headline = "CMSIS-NN does not round as ONNX Runtime does"
    label = "it requantizes in fixed point, as TFLite: 2 to 4 outputs in a thousand of each layer are one step off"
    cures = ("take `rounding ort` out: with `kernels cmsis_nn` it is `tflite`", "or write `kernels own`")
    return Diagnostic("target-cannot", headline, block.place("rounding"), label, cures)


def _device(block: Target, name: str) -> Iterator[Diagnostic]:
    try:
        board_named(name)
    except BoardError as error:
        names = error.near or tuple(board.name for board in BOARDS.values())
        told = ", ".join(f"`{each}`" for each in names)
        cure = f"{'the nearest are' if error.near else 'known are'} {told}"
        own = "for a board of your own leave `device` out, and bound what it has: `require flash <= 512 KiB`"
        yield Diagnostic("stm32-board", str(error), block.place("device"), help=(cure, own))
