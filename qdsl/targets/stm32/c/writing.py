"""An integer graph, placed in memory, as a folder of C."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.boards import Board
from qdsl.targets.stm32.c.board_files import board_files
from qdsl.targets.stm32.c.calls import products
from qdsl.targets.stm32.c.example import Levels, example_h
from qdsl.targets.stm32.c.network_c import network_c
from qdsl.targets.stm32.c.network_h import network_h
from qdsl.targets.stm32.c.records import Placed
from qdsl.targets.stm32.c.sizes import Footprint, footprints
from qdsl.targets.stm32.c.tables import Tables, tables_of
from qdsl.targets.stm32.memory.check import check

KERNELS = Path(__file__).resolve().parent.parent / "kernels"
PROJECT = KERNELS.parent / "project"
LINKER_SCRIPT = "stm32h7b3.ld"
# What is written beside the network as it stands.
BESIDE = (
    *("README.md", "Makefile", "CMakeLists.txt", "main.c", "start.c", LINKER_SCRIPT),
    *("mps2.ld", "emulated.c", "emulated.h", "host.c", "host.h"),
)
CMSIS = ("cmsis.mk", "cmsis.cmake")  # where functions of CMSIS-NN are called
FIRST, LAST = "common.h", "driver.h"  # of kernels.h, whatever is between


@dataclass(frozen=True, slots=True)
class CStep:
    """One step of network.c: its ONNX nodes and kernels in order, its multiply-accumulates, what it writes, and where
    in the arena that is."""

    nodes: tuple[str, ...]
    kernels: tuple[str, ...]
    macs: int
    output: str
    at: int


@dataclass(frozen=True, slots=True)
class CFiles:
    """What was written: `files` by name; `arena` and `constants` are bytes, `hash` is what network_about tells;
    `footprints` is what the linker makes of it, for each core on which its kernels were measured."""

    folder: Path
    files: tuple[str, ...]
    arena: int
    constants: int
    macs: int
    hash: str
    steps: tuple[CStep, ...]
    footprints: tuple[Footprint, ...] = ()


def write_c(
    graph: IntegerGraph, placed: Placed, folder: Path, *, levels: Levels | None = None, board: Board | None = None
) -> CFiles:
    """Write network.h, network.c, weights.h and kernels.h into `folder`, which is made, and what makes a program of
    them. `levels` is what the example makes of a pixel (`qdsl.targets.stm32.c.example.levels_of`), `board` what it is
    linked for. Nothing is written of a plan in which anything is lost (RuntimeError): what makes plans has to be mended
    then."""
    for fault in check(graph, placed):
        where = f"at byte {fault.at} of the arena, in step {fault.step}"
        raise RuntimeError(f"the plan of memory is wrong: `{fault.tensor[:80]}` {fault.what}, {where}")
    tables = tables_of(graph, placed)
    macs = sum(products(op, graph) for op in graph.ops)
    kernels, weights = kernels_h(tables.files), weights_h(tables)
    tables_text = network_c(tables, macs, "")
    digest = hashlib.sha256("\0".join((kernels, weights, tables_text)).encode()).hexdigest()
    files = {
        "network.h": network_h(graph, placed.size, len(tables.steps), library=bool(tables.asks)),
        "network.c": network_c(tables, macs, digest),
        "weights.h": weights,
        "kernels.h": kernels,
        "example.h": example_h(levels),
        **{name: (PROJECT / name).read_text(encoding="ascii") for name in (*BESIDE, *(CMSIS if tables.asks else ()))},
    }
    if board is not None:
        files |= board_files(board, files[LINKER_SCRIPT])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    return CFiles(
        folder,
        tuple(files),
        placed.size,
        sum(tables.constants.sizes.values()),
        macs,
        digest,
        tuple(_steps(tables)),
        footprints(tables),
    )


def _steps(tables: Tables) -> Iterable[CStep]:
    for step in tables.steps:
        output = step.calls[-1].op.output
        yield CStep(
            tuple(call.op.node for call in step.calls),
            tuple(call.kernel for call in step.calls),
            sum(products(call.op, tables.graph) for call in step.calls),
            output,
            tables.placed.tensors[output],
        )


def kernels_h(files: Iterable[str]) -> str:
    """The kernel sources named, each once, between what all need and what runs them."""
    names = dict.fromkeys((FIRST, *files, LAST))
    return "\n".join((KERNELS / name).read_text(encoding="ascii") for name in names)


def weights_h(tables: Tables) -> str:
    head = "/* Weights and tables, as the kernels read them. */\n\n"
    return head + "\n".join(tables.constants.text)
