"""What this machine can do with artifacts for STM32."""

from __future__ import annotations

from qdsl.spec.abilities import Abilities, Ability
from qdsl.targets.probing import ask
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.emulated.installed import COMPILER, EMULATOR, GET, Tool, tools

_GET_HOST = "apt-get install gcc"
_HOLDS = "builds the C for this machine, which `compile` holds against its integers to the bit"
_BOARD = "build the C into your firmware (`c/Makefile` beside the artifact) and time `network_run` on the board"


def abilities() -> Abilities:
    found = tools()
    build = _tool(COMPILER, found.compiler, "builds the C for a Cortex-M: flash and RAM by its linker")
    return {
        "emit": Ability(True, "qdsl alone"),
        "check": _here(),
        "build": build,
        "run": _run(build, _tool(EMULATOR, found.emulator, "runs the C on an emulated core")),
        "measure": Ability(False, "no board is here: what a run takes there is predicted as a range", _BOARD),
    }


def _here() -> Ability:
    """The compiler of this machine."""
    cc = host.compiler()
    if cc is None:
        return Ability(False, f"cc is not here: it {_HOLDS}", _GET_HOST)
    answer = ask([cc, "--version"])
    if answer.problem:
        return Ability(False, f"cc does not work: {answer.problem}", _GET_HOST, broken=True)
    name = (answer.text.strip().splitlines() or ["cc"])[0][:80]
    return Ability(True, f"{name} {_HOLDS}")


def _tool(name: str, tool: Tool | None, does: str) -> Ability:
    if tool is None:
        return Ability(False, f"{name} is not here: it {does}", GET)
    if tool.problem:
        return Ability(False, f"{name} does not work: {tool.problem}", GET, broken=True)
    return Ability(True, f"{name} {tool.version} {does}".replace("  ", " "))


def _run(build: Ability, emulator: Ability) -> Ability:
    missing = next((each for each in (build, emulator) if not each.able), None)
    if missing is None:
        return Ability(True, f"{emulator.why}: verified, evaluated, instructions counted")
    why = f"{missing.why}; its integer graph runs on this machine, so `evaluate` works"
    return Ability(False, why, missing.get, broken=missing.broken)
