"""Compile and link emitted C for an emulated core."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.spec.bounds import UnfitError
from qdsl.spec.words import plain
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.c.writing import PROJECT
from qdsl.targets.stm32.emulated.cmsis_nn import Checkout
from qdsl.targets.stm32.emulated.commands import command
from qdsl.targets.stm32.emulated.cores import CORES, FLAGS, Core
from qdsl.targets.stm32.emulated.installed import Tools, tools
from qdsl.targets.stm32.emulated.sections import Layout, read_map

SECONDS = 300.0  # of one call of the compiler
MOST = 3 << 20  # bytes of flash, and of RAM, that the emulated boards have for a program
_OVER = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_WRONG = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?:fatal )?error: (?P<what>.+)$", re.MULTILINE)
_SAID = 300


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a board's memories that a program may take; those of an STM32H7B3I-DK where nothing else is said. The
    stack lies beside the RAM; `board` is its name, "" for none."""

    flash: int = 2 << 20
    ram: int = 1 << 20
    stack: int = 8 << 10
    board: str = ""


@dataclass(frozen=True, slots=True)
class BuiltC:
    """Emitted C as a program of a core: `elf` is the network as it stands, `stepped` the same with a call after each
    step, which counts it. `layout` is the linker's, of `elf`; `warnings` are the compiler's, `by` says which it is."""

    core: Core
    elf: Path
    stepped: Path
    layout: Layout
    stepped_layout: Layout
    warnings: tuple[str, ...]
    by: str
    seconds: float
    span: Span | None = None

    @property
    def flash(self) -> int:
        return self.layout.flash

    @property
    def ram(self) -> int:
        return self.layout.ram


def build(
    folder: Path,
    out: Path,
    core: str = "cortex-m7",
    limits: Limits | None = None,
    *,
    span: Span | None = None,
    found: Tools | None = None,
    library: Checkout | None = None,
) -> BuiltC | NotHere:
    """Compile network.c of `folder` and link it into `out`, for a core of CORES, with what it calls of `library`.
    `span` is the place in the recipe that the network comes from. Raises QdslError c-invalid, c-too-large,
    cmsis-nn-unfit."""
    here = found or tools()
    if here.missing or here.compiler is None:
        return NotHere(here.missing)
    return _Build(folder.resolve(), out.resolve(), CORES[core], limits or Limits(), here, span, library).built()


@dataclass(frozen=True, slots=True)
class _Build:
    folder: Path
    out: Path
    core: Core
    limits: Limits
    tools: Tools
    span: Span | None
    library: Checkout | None = None

    def built(self) -> BuiltC:
        self.out.mkdir(parents=True, exist_ok=True)
        warnings: list[str] = []
        seconds = 0.0
        hook = ("-include", str(PROJECT / "emulated.h"))
        for source, name, more in (
            (PROJECT / "start.c", "start.o", ()),
            (PROJECT / "emulated.c", "emulated.o", ()),
            (self.folder / "network.c", "network.o", ()),
            (self.folder / "network.c", "stepped.o", hook),
        ):
            said, took = self._compile(source, name, more)
            seconds += took
            warnings += [line for line in said.splitlines() if " warning: " in line and line not in warnings]
        linking = [str(self.library.archive(self._compiler(), self.out))] if self.library else []
        layout, linked = self._link("network.o", "network.elf", linking)
        stepped_layout, again = self._link("stepped.o", "stepped.elf", linking)
        compiler = self.tools.compiler
        return BuiltC(
            core=self.core,
            elf=self.out / "network.elf",
            stepped=self.out / "stepped.elf",
            layout=layout,
            stepped_layout=stepped_layout,
            warnings=tuple(warnings),
            by=f"arm-none-eabi-gcc {compiler.version if compiler else ''}".strip(),
            seconds=seconds + linked + again,
            span=self.span,
        )

    def _compile(self, source: Path, name: str, more: Sequence[str]) -> tuple[str, float]:
        known = self.library.include if self.library else ()
        here = (f"-I{self.folder}", f"-I{PROJECT}", *known)
        return self._gcc((*self.core.flags, *FLAGS, *here, *more, "-c", str(source), "-o", name))

    def _compiler(self) -> tuple[str, ...]:
        return str(self.tools.compiler.path if self.tools.compiler else ""), *self.core.flags

    def _link(self, network: str, name: str, more: Sequence[str] = ()) -> tuple[Layout, float]:
        """Flash and RAM of the limits; where the emulated board has less, of it."""
        sizes = (("flash", min(self.limits.flash, MOST)), ("ram", min(self.limits.ram, MOST)))
        defined = (*sizes, ("stack", self.limits.stack))
        map_file = self.out / f"{name}.map"
        _, seconds = self._gcc(
            (
                *self.core.flags,
                *("-nostartfiles", "-T", str(PROJECT / "mps2.ld"), "-Wl,--gc-sections", f"-Wl,-Map={map_file}"),
                *(f"-Wl,--defsym={key}_size={value}" for key, value in defined),
                *("start.o", "emulated.o", network, *more, "-o", name),
            )
        )
        try:
            return read_map(map_file.read_text(encoding="utf-8", errors="replace")), seconds
        except (OSError, UnfitError) as error:
            raise self._error("c-invalid", f"the linker's map cannot be read: {error}") from None

    def _gcc(self, words: Sequence[str]) -> tuple[str, float]:
        try:
            done = command((self._compiler()[0], *words), SECONDS, self.out)
        except OSError as error:
            raise self._error("c-invalid", f"arm-none-eabi-gcc does not start: {error.strerror}") from None
        if done.stopped:
            raise self._error("c-invalid", f"arm-none-eabi-gcc took more than {SECONDS:g} s and was ended")
        if done.status == 0:
            return done.said, done.seconds
        over = {found[1]: int(found[2]) for found in _OVER.finditer(done.said)}
        raise self._too_large(over) if over else self._invalid(done.said)

    def _too_large(self, over: dict[str, int]) -> QdslError:
        names = {"FLASH": ("flash", self.limits.flash), "RAM": ("RAM", self.limits.ram)}
        parts = []
        for region, bytes_over in over.items():
            name, size = names.get(region, (region, 0))
            parts.append(f"{bytes_over:,} bytes more {name} than the {size:,}" if size else f"{bytes_over:,} in {name}")
        board = self.limits.board
        told = f"the board is too small: the program takes {' and '.join(parts)} of {board or 'the emulated board'}"
        cure = "`optimize ram` in the target takes less of both; else a smaller model, or a board with more"
        return self._error("c-too-large", told, cure)

    def _invalid(self, said: str) -> QdslError:
        found = _WRONG.search(said)
        if self.library is not None:
            return self.library.unfit("the C that calls it is not compiled", said)
        lines = [line for line in said.splitlines() if line.strip()]
        what = (
            f"{Path(found['file']).name}:{found['line']}: {found['what']}"
            if found
            else (lines or ["it says nothing"])[0]
        )
        return self._error("c-invalid", f"the C is not compiled: {plain(what)[:_SAID]}")

    def _error(self, code: str, headline: str, *help: str) -> QdslError:
        return QdslError([Diagnostic(code, headline, self.span, help=help)])
