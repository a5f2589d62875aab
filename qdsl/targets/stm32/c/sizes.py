"""Measured sizes of the C's functions, and what a network takes by them before any compiler has seen it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qdsl.targets.stm32.c.tables import Tables

SIZES = Path(__file__).resolve().parent.parent / "kernels" / "sizes.toml"

VECTORS = 64  # bytes: the core's own sixteen
START = ("reset", "stack_paint", "stack_position", "stack_used")
INTERFACE = ("network_init", "network_input", "network_output", "network_run")
# Bytes of one element of the tables, where a pointer, an int and a float take four.
_ROWS, _STAGE, _STEP, _TENSOR, _NETWORK, _MACHINE, _ABOUT, _WORD = 12, 20, 16, 32, 28, 16, 16, 4
_HASH = 65

_HEAD = """\
# Bytes in flash of each function of the C, a multiple of 4, then the functions that it calls.
# Measured, not written by hand: python -m qdsl.targets.stm32.c.measuring
"""


@dataclass(frozen=True, slots=True)
class Function:
    """Its bytes in flash, and the functions that it calls or hands on."""

    bytes: int
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the functions by name, for each core, as `compiler` makes them with the Makefile's flags."""

    compiler: str
    cores: Mapping[str, Mapping[str, Function]]

    def text(self) -> str:
        lines = [_HEAD, f'compiler = "{self.compiler}"\n']
        for core, functions in self.cores.items():
            lines.append(f"\n[{core}]\n")
            for name, function in functions.items():
                parts = [str(function.bytes), *(f'"{need}"' for need in function.needs)]
                lines.append(f"{name} = [{', '.join(parts)}]\n")
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a network with its start-up, by the linker's sections: `code`, `constants` (weights, parameters,
    tables), and the first values of what is written (`data`) are in flash; `arena`, `data` and `zeroed` in RAM, beside
    the stack. The code is that of `compiler` with the Makefile's flags; what calls the network is not in it."""

    core: str
    compiler: str
    code: int
    constants: int
    data: int
    zeroed: int
    arena: int

    @property
    def flash(self) -> int:
        return VECTORS + self.code + self.constants + self.data

    @property
    def ram(self) -> int:
        return self.arena + self.data + self.zeroed


@cache
def sizes() -> Sizes:
    read = tomllib.loads(SIZES.read_text(encoding="ascii"))
    compiler = read.pop("compiler")
    cores = {
        core: {name: Function(size, tuple(needs)) for name, (size, *needs) in functions.items()}
        for core, functions in read.items()
    }
    return Sizes(compiler, cores)


def footprints(tables: Tables) -> tuple[Footprint, ...]:
    """For each core of `sizes()`; none for one on which some kernel of the network was not measured."""
    calls = [call for step in tables.steps for call in step.calls]
    kernels = {call.kernel for call in calls}
    kernels |= {value for call in calls for _, value in call.parameters if isinstance(value, str)}
    measured = (core for core, functions in sizes().cores.items() if kernels <= functions.keys())
    return tuple(_footprint(tables, kernels, core) for core in measured)


def _footprint(tables: Tables, kernels: set[str], core: str) -> Footprint:
    functions = sizes().cores[core]
    count = len(tables.graph.inputs) + len(tables.graph.outputs)
    return Footprint(
        core,
        sizes().compiler,
        code=sum(functions[name].bytes for name in reached((*START, *INTERFACE, *kernels), functions)),
        constants=_constants(tables),
        data=_MACHINE + _TENSOR * count,
        zeroed=_WORD * (tables.reach + tables.deepest),
        arena=_up(tables.placed.size),
    )


def reached(names: Iterable[str], functions: Mapping[str, Function]) -> set[str]:
    """These functions and all that they call."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += functions[name].needs
    return found


def _constants(tables: Tables) -> int:
    graph = tables.graph
    tensors = [graph.tensors[name] for name in (*graph.inputs, *graph.outputs)]
    words = sum(len(call.parameters) for step in tables.steps for call in step.calls)
    words += len(tables.inputs) + len(tables.places) + sum(1 + max(1, len(tensor.shape)) for tensor in tensors)
    structs = _ROWS * len(tables.rows) + _STAGE * len(tables.stages) + _STEP * (len(tables.lines) + 1)
    names = sum(_up(len(name.encode()) + 1) for name in (graph.name, *(tensor.name for tensor in tensors)))
    arrays = sum(map(_up, tables.constants.sizes.values()))
    return arrays + _WORD * words + structs + names + _NETWORK + _ABOUT + _up(_HASH)


def _up(size: int) -> int:
    return -(-size // 4) * 4
