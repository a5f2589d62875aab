"""What each function of the C takes in flash, as a compiler makes it: `python -m qdsl.targets.stm32.c.measuring` writes
`kernels/sizes.toml` anew.

The functions are compiled on their own (QDSL_APART), so that a network takes the sum of those that it calls. Needs
Debian's gcc-arm-none-eabi.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from qdsl.integer.records import IntegerGraph, Reshape, Tensor
from qdsl.targets.stm32.c.move_calls import reshape
from qdsl.targets.stm32.c.network_c import network_c
from qdsl.targets.stm32.c.network_h import network_h
from qdsl.targets.stm32.c.records import Placed, Step
from qdsl.targets.stm32.c.sizes import SIZES, Function, Sizes
from qdsl.targets.stm32.c.tables import tables_of
from qdsl.targets.stm32.c.writing import FIRST, KERNELS, LAST, PROJECT, kernels_h
from qdsl.targets.stm32.emulated.cores import CORES, FLAGS, Core

MEASURED = ("cortex-m7", "cortex-m4")
_DEFINES = re.compile(
    r"^(?:#define (QDSL_\w+)|(?:struct|enum) (qdsl_\w+) \{|typedef .*\b(qdsl_\w+)\(|QDSL_\w+\((qdsl_\w+),"
    r"|(?:static|QDSL_INLINE) [^;=]*?\b(qdsl_\w+)\()",
    re.MULTILINE,
)
_SECTION = re.compile(r"\s*\d+ (\S+)\s+([0-9a-f]+)\s+[0-9a-f]+\s+[0-9a-f]+\s+[0-9a-f]+\s+2\*\*(\d+)")
_RELOCATION = re.compile(r"[0-9a-f]+ R_ARM_\w+\s+(\S+)")
_OF = re.compile(r"RELOCATION RECORDS FOR \[(\S+)\]:")
_TEXT = re.compile(r"\.text\.(?:(?:startup|unlikely|hot)\.)?")


@dataclass(frozen=True, slots=True)
class _Tools:
    core: Core
    folder: Path

    def compiled(self, source: Path) -> str:
        """What objdump says of a source's sections and relocations."""
        out = self.folder / f"{source.stem}.o"
        words = [
            "arm-none-eabi-gcc",
            *self.core.flags,
            *FLAGS,
            "-fkeep-static-functions",
            "-c",
            str(source),
            "-o",
            str(out),
        ]
        subprocess.run(words, check=True, cwd=self.folder)
        return self.objdump(out)

    def objdump(self, file: Path) -> str:
        words = ["arm-none-eabi-objdump", "-h", "-r", str(file)]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def library(self, symbol: str) -> Function:
        """What a function of the C library takes: all of the member that it is in."""
        words = ["arm-none-eabi-gcc", *self.core.flags, "-print-file-name=libc.a"]
        archive = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        member = f"lib_a-{symbol}.o"
        subprocess.run(["arm-none-eabi-ar", "x", archive, member], check=True, cwd=self.folder)
        text = self.objdump(self.folder / member)
        size = sum(int(found[2], 16) for found in _SECTION.finditer(text) if found[1].startswith((".text", ".rodata")))
        return Function(-(-size // 4) * 4, ())


def measure() -> Sizes:
    version = subprocess.run(["arm-none-eabi-gcc", "-dumpfullversion"], check=True, capture_output=True, text=True)
    cores = {}
    for name in MEASURED:
        with tempfile.TemporaryDirectory() as folder:
            cores[name] = _functions(_Tools(CORES[name], Path(folder)))
    return Sizes(f"arm-none-eabi-gcc {version.stdout.strip()}", cores)


def _functions(tools: _Tools) -> Mapping[str, Function]:
    found: dict[str, Function] = {}
    for source in (_everything(tools.folder), PROJECT / "start.c"):
        found |= _read(tools.compiled(source))
    called = {name for function in found.values() for name in function.needs}
    # What is called and not here is the linker script's, the program's or the library's.
    for name in sorted(called & {"memcpy", "memset", "memmove"}):
        found[name] = tools.library(name)
    return {name: Function(f.bytes, tuple(n for n in f.needs if n in found)) for name, f in sorted(found.items())}


def _everything(folder: Path) -> Path:
    """A source with every kernel and the interface in it."""
    tensors = {name: Tensor(name, (1,), "int8", (0,)) for name in "ab"}
    graph = IntegerGraph("n", ("a",), ("b",), tensors, (Reshape("r", ("a",), "b"),))
    step = Step((reshape(graph.ops[0], graph),))  # type: ignore[arg-type]
    tables = tables_of(graph, Placed((step,), {"a": 0, "b": 4}, (0,), {}, 8, 8))
    (folder / "kernels.h").write_text(kernels_h(_in_order()), encoding="ascii")
    (folder / "network.h").write_text(network_h(graph, 8, 1), encoding="ascii")
    (folder / "weights.h").write_text("", encoding="ascii")
    source = folder / "network.c"
    source.write_text(network_c(tables, 0, ""), encoding="ascii")
    return source


def _in_order() -> list[str]:
    """All kernel sources, each behind those whose names it uses."""
    texts = {
        path.name: path.read_text(encoding="ascii")
        for path in sorted(KERNELS.glob("*.h"))
        if path.name not in (FIRST, LAST)
    }
    home = {name: file for file, text in texts.items() for found in _DEFINES.findall(text) for name in found if name}
    uses = {
        file: {home[name] for name in re.findall(r"\b(?:qdsl|QDSL)_\w+", text) if home.get(name, file) != file}
        for file, text in texts.items()
    }
    return list(TopologicalSorter(uses).static_order())


def _read(text: str) -> dict[str, Function]:
    """The functions of an object file. Constants of theirs lie together without a name, in `.rodata`: they are counted
    with the one function that has some. Raises ValueError where several have."""
    sizes: dict[str, int] = {}
    needs: dict[str, dict[str, None]] = {}
    section = ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            sizes[found[1]] = -(-int(found[2], 16) // 4) * 4
        elif found := _OF.match(line):
            section = found[1]
        elif found := _RELOCATION.match(line):
            needs.setdefault(section, {})[found[1].split("+")[0]] = None
    having = [name for name, those in needs.items() if ".rodata" in those]
    if sizes.get(".rodata", 0) and len(having) != 1:
        raise ValueError(f"constants without a name in {', '.join(having)}")
    for name in having:
        sizes[name] += sizes[".rodata"]
    return {
        _TEXT.sub("", name): Function(size, tuple(_TEXT.sub("", need) for need in needs.get(name, ())))
        for name, size in sizes.items()
        if size and _TEXT.match(name)
    }


if __name__ == "__main__":
    SIZES.write_text(measure().text(), encoding="ascii")
