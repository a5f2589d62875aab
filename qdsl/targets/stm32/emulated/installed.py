"""Whether the compiler and the emulator are on this machine, and how to have them."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qdsl.spec.words import plain
from qdsl.targets.probing import ask

COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
GET = "apt-get install -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
_VERSION = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that is here; `problem` why it cannot be used, "" where it can."""

    path: Path
    version: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Tools:
    """What is here of both; None where it is not."""

    compiler: Tool | None
    emulator: Tool | None

    @property
    def missing(self) -> str:
        """What keeps emitted C from being built and run here, in words that follow "not run here: "; "" for nothing."""
        if not hasattr(os, "mkfifo"):
            return "this system has no pipes with names, by which the emulator is spoken to"
        found = ((COMPILER, self.compiler), (EMULATOR, self.emulator))
        absent = [name for name, tool in found if tool is None]
        if absent:
            return f"there is no {' and no '.join(absent)} on this machine (`{GET}`)"
        broken = [f"{name} does not work: {tool.problem}" for name, tool in found if tool is not None and tool.problem]
        return "; ".join(broken)


@cache
def tools() -> Tools:
    """Both, asked once for their versions."""
    return Tools(_tool(COMPILER), _tool(EMULATOR))


def place(name: str) -> str | None:
    """Where a program lies."""
    return shutil.which(name)


def _tool(name: str) -> Tool | None:
    path = place(name)
    if path is None:
        return None
    answer = ask([path, "--version"])
    found = _VERSION.search(re.sub(r"\(.*?\)", "", answer.text.partition("\n")[0]))
    return Tool(Path(path), found[0] if found else "", plain(answer.problem))
