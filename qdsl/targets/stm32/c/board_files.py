"""A linker script and a rule of make for the board that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.targets.stm32.boards import Bank, Board

SCRIPT, RULE = "board.ld", "board.mk"
_FLASH = 0x08000000  # of every STM32: where it begins to run after reset
_FPU = {
    ("Cortex-M7", "double"): "fpv5-d16",
    ("Cortex-M7", "single"): "fpv5-sp-d16",
    ("Cortex-M33", "single"): "fpv5-sp-d16",
    ("Cortex-M4", "single"): "fpv4-sp-d16",
}


def board_files(board: Board, script: str) -> Mapping[str, str]:
    """The files by name; `script` is the linker script of another board, whose sections these are."""
    return {SCRIPT: _script(board, script[script.index("ENTRY(") :]), RULE: _rule(board)}


def flags(board: Board) -> tuple[str, ...]:
    """The compiler's, for the core of the board."""
    fpu = _FPU.get((board.core, board.fpu))
    floats = ("-mfloat-abi=soft",) if fpu is None else (f"-mfpu={fpu}", "-mfloat-abi=hard")
    return (f"-mcpu={board.core.lower()}", "-mthumb", *floats)


def _script(board: Board, sections: str) -> str:
    ram = board.largest
    stack = next((bank for bank in board.ram if bank.name == "DTCM" and bank is not ram), None)
    banks = [_memory("FLASH", "rx", Bank("flash", board.flash, _FLASH)), _memory("RAM", "rw", ram)]
    banks += [] if stack is None else [_memory("DTCM", "rw", stack)]
    lines = (
        "/* SPDX-License-Identifier: Apache-2.0 */",
        f"/* {board.name}: {board.source}.",
        " * The stack lies at the low end of its memory; what else is written in the largest without a gap. */",
        "MEMORY",
        "{",
        *banks,
        "}",
        f'REGION_ALIAS("STACK", {"RAM" if stack is None else "DTCM"})',
    )
    return "\n".join(lines) + "\n" + sections


def _memory(name: str, access: str, bank: Bank) -> str:
    return f"    {name} ({access}) : ORIGIN = 0x{bank.address:08X}, LENGTH = {bank.size}K"


def _rule(board: Board) -> str:
    return f"""# SPDX-License-Identifier: Apache-2.0
# `make board`: the network and the example for the {board.name}.
BOARD = {" ".join(flags(board))}

.PHONY: board
board: $(OUT)/network_board.elf
$(OUT)/network_board.elf: start.c main.c network.c $(HEADERS) {SCRIPT} $(LIBRARY_board) | $(OUT)
	$(ARM)gcc $(BOARD) $(FLAGS) $(INCLUDES) $(LINK) -T {SCRIPT} -Wl,-Map=$@.map \\
		start.c main.c network.c $(LIBRARY_board) -o $@
"""
