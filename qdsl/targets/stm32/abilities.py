"""What this machine can do with artifacts for STM32."""

from __future__ import annotations

import shutil

from qdsl.spec.abilities import Abilities, Ability
from qdsl.targets.probing import ask

HOST, CROSS, EMULATOR = "cc", "arm-none-eabi-gcc", "qemu-system-arm"
_GET_HOST = "apt-get install gcc"
_GET_CROSS = "apt-get install --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi"
_GET_EMULATOR = f"{_GET_CROSS} qemu-system-arm"
_BOARD = "build the C into your firmware (`c/Makefile` beside the artifact) and time `network_run` on the board"


def abilities() -> Abilities:
    cross = _program(CROSS, "builds the C for a Cortex-M", _GET_CROSS)
    emulator = _program(EMULATOR, "runs it on an emulated Cortex-M7", _GET_EMULATOR)
    return {
        "emit": Ability(True, "qdsl alone"),
        "check": _program(HOST, "builds the C for this machine", _GET_HOST),
        "build": cross,
        "run": emulator if cross.able else cross,
        "measure": Ability(False, "no board is here: what it takes there is predicted as a range", _BOARD),
    }


def _program(name: str, does: str, get: str) -> Ability:
    """Whether a program is there and says its version."""
    path = shutil.which(name)
    if path is None:
        return Ability(False, f"{name} is not here: it {does}", get)
    answer = ask([path, "--version"])
    if answer.problem:
        return Ability(False, f"{name} does not work: {answer.problem}", get, broken=True)
    return Ability(True, f"{answer.text.strip().splitlines()[0][:80]} {does}")
