"""STM32 boards by the names that recipes use: memory, clock and core, from `boards.toml` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated

from qdsl.diag import nearest
from qdsl.spec.bounds import OneOf, Sentence, Stands, Whole
from qdsl.spec.decode import decode, require_version, toml_data

_KIB = 1024
_FAMILY, _CHIP = len("stm32f4"), len("stm32f446re")  # "stm32f446ret6" ends in its package and its temperatures
_Positive = Annotated[int, Whole(1)]


@dataclass(frozen=True, slots=True)
class Bank:
    """RAM at one place: `size` in KiB, from `address` on."""

    name: Sentence
    size: _Positive
    address: _Positive

    @property
    def bytes(self) -> int:
        return self.size * _KIB


@dataclass(frozen=True, slots=True)
class Board:
    """One board. `clock` is the highest in MHz, `flash` in KiB; `fpu` computes in "single" or "double" precision, or is
    "none"; `dsp`: SMLAD multiplies two pairs of 16 bits in a cycle. `source` says where this is from."""

    name: Sentence
    part: Sentence
    core: Annotated[str, OneOf(("Cortex-M0", "Cortex-M4", "Cortex-M7", "Cortex-M33"))]
    clock: _Positive
    flash: _Positive
    fpu: Annotated[str, OneOf(("none", "single", "double"))]
    dsp: bool
    ram: tuple[Bank, ...]
    source: Sentence

    @property
    def flash_bytes(self) -> int:
        return self.flash * _KIB

    @property
    def largest(self) -> Bank:
        """The most RAM in one piece: what an arena can have."""
        return max(self.ram, key=lambda bank: bank.size)


@dataclass(frozen=True, slots=True)
class _Boards:
    boards: Annotated[tuple[Board, ...], Stands("board")]


class BoardError(ValueError):
    """A board that is not known. `near` are the names most like it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name[:60]}` is no STM32 board that is known")
        self.near = _near(_key(name))


@cache
def _boards() -> Mapping[str, Board]:
    text = (resources.files("qdsl.targets.stm32") / "boards.toml").read_text(encoding="utf-8")
    found = decode(_Boards, require_version(toml_data(text), "format", 1))
    return {_key(board.name): board for board in found.boards}


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


BOARDS = _boards()


def _near(key: str) -> tuple[str, ...]:
    """Of boards with the chip that somebody names in place of a board, as far as the name goes; else by spelling."""
    chips = [board.name for board in BOARDS.values() if len(key) > _FAMILY and _key(board.part).startswith(key[:_CHIP])]
    return tuple(chips or (BOARDS[each].name for each in nearest(key, BOARDS, 3)))


def board_named(name: str) -> Board:
    """The board that a recipe names; case, spaces and underscores do not matter. Raises BoardError."""
    found = BOARDS.get(_key(name))
    if found is None:
        raise BoardError(name)
    return found
