"""What a linker put where, out of its map: sections, and in each the functions and arrays that it consists of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath

from qdsl.spec.bounds import UnfitError

# What stands in flash; what is written stands in it once more, as it starts. `.aside` is the harness.
_FLASH = (".vectors", ".text", ".rodata", ".data")
_RAM = (".arena", ".data", ".bss")
_NO_MEMORY = (".debug", ".comment", ".ARM")
_BEGIN = "Linker script and memory map"
_OUTPUT = re.compile(r"(\.[\w.]+) +0x([0-9a-f]+) +0x([0-9a-f]+)(?: load address .*)?")
_INPUT = re.compile(r" (\.[\w.$]+|COMMON|\*fill\*) +0x([0-9a-f]+) +0x([0-9a-f]+)(?: (.*))?")
_KINDS = re.compile(r"\.(?:text|rodata|data|bss)(?:\.(?:startup|unlikely|hot|exit|rel))*\.?")


@dataclass(frozen=True, slots=True)
class Part:
    """A function or an array of an object file, with its address and bytes; "" where nothing names it (padding, what
    comes whole out of a library)."""

    name: str
    object: str
    address: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    address: int
    bytes: int
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Every section that takes memory, in the order of the map."""

    sections: tuple[Section, ...] = field(default=())

    @property
    def flash(self) -> int:
        """Bytes of the image: vectors, code, constants, and the first values of what is written."""
        return sum(section.bytes for section in self.sections if section.name in _FLASH)

    @property
    def ram(self) -> int:
        """Bytes of what is written, the arena among them, and the stack not."""
        return sum(section.bytes for section in self.sections if section.name in _RAM)

    def at(self, address: int) -> str:
        """The function or array at an address, "" where none is."""
        for section in self.sections:
            for part in section.parts:
                if part.address <= address < part.address + part.bytes:
                    return part.name
        return ""


def read_map(text: str) -> Layout:
    """Out of the map that GNU ld writes. Raises UnfitError where the text is none."""
    _, begun, rest = text.partition(_BEGIN)
    if not begun:
        raise UnfitError(f"expected a linker's map, with a line `{_BEGIN}`")
    found: list[Section] = []
    for line in _joined(rest.splitlines()):
        output, part = _OUTPUT.fullmatch(line), _INPUT.fullmatch(line)
        if output is not None:
            found.append(Section(output[1], int(output[2], 16), int(output[3], 16)))
        elif part is not None and found and int(part[3], 16):
            last = found[-1]
            found[-1] = Section(last.name, last.address, last.bytes, (*last.parts, _part(part)))
    return Layout(tuple(section for section in found if section.bytes and not section.name.startswith(_NO_MEMORY)))


def _joined(lines: list[str]) -> Iterator[str]:
    """A long name stands on a line of its own, and the rest on the next."""
    taken = False
    for line, after in pairwise((*lines, "")):
        if taken:
            taken = False
            continue
        words = line.split()
        taken = len(words) == 1 and words[0].startswith(".") and after.startswith("                0x")
        yield f"{line} {after.strip()}" if taken else line


def _part(found: re.Match[str]) -> Part:
    name = "" if found[1] in ("*fill*", "COMMON") else _KINDS.sub("", found[1], count=1)
    return Part(name, PurePosixPath(found[4] or "").name, int(found[2], 16), int(found[3], 16))
