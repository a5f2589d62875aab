"""Run a built program under QEMU on the samples that it is given: outputs, instructions, stack."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec.scratch import scratch
from qdsl.spec.words import plain
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.emulated.building import BuiltC
from qdsl.targets.stm32.emulated.commands import Done, command
from qdsl.targets.stm32.emulated.installed import Tools, tools

SECONDS = 600.0
_PER_TICK = 1.25  # instructions: 40 ns, 32 ns each
_CALIBRATIONS = 16
_HEAD = struct.Struct("<8I")  # as `counts` of project/emulated.c
_REFUSED, _FILES, _FAULT, _STACK = 10, 11, 12, 13
_FAULTS = struct.Struct("<6I")  # CFSR, HFSR, MMFAR, BFAR, stack pointer, program counter
_MEMORY_FAULT, _BUS_FAULT = 1 << 7, 1 << 15  # of CFSR: the address is known
_LOCKED = "Lockup"


@dataclass(frozen=True, slots=True)
class RanC:
    """What a program did. `outputs` are the bytes of all outputs, per sample; `instructions` those of network_run, per
    sample, None where they are more than are counted at once (5.3e9); `steps` those of each step, the mean over the
    samples, empty where they were not counted. `stack` is what network_run takes of it, in bytes. `traces` are, per
    sample, the bytes that were wanted of each step."""

    outputs: tuple[bytes, ...]
    instructions: tuple[int | None, ...]
    steps: tuple[float, ...]
    stack: int
    seconds: float
    by: str
    traces: tuple[tuple[bytes, ...], ...] = ()


def run(
    built: BuiltC,
    samples: Iterable[bytes],
    output_bytes: int,
    *,
    steps: bool = False,
    wanted: Sequence[tuple[int, int]] = (),
    seconds: float = SECONDS,
    found: Tools | None = None,
) -> RanC | NotHere:
    """Run it once per sample, in one process: a sample is the bytes of all inputs, as they are stored. `steps` counts
    each step, and `wanted` says then, per step, where its output lies in the arena (offset, bytes), to have it in the
    traces. Raises QdslError emulation-failed."""
    here = found or tools()
    if here.missing or here.emulator is None:
        return NotHere(here.missing)
    with scratch() as folder:
        count = 0
        with (folder / "inputs").open("wb") as file:
            for count, sample in enumerate(samples, 1):  # noqa: B007
                file.write(sample)
        if wanted:
            (folder / "wanted").write_bytes(b"".join(struct.pack("<2I", *place) for place in wanted))
        elf = built.stepped if steps or wanted else built.elf
        words = (
            *(str(here.emulator.path), "-M", built.core.machine, "-nographic", "-monitor", "none", "-serial", "none"),
            *("-semihosting-config", "enable=on,target=native", "-icount", "shift=5", "-kernel", str(elf)),
        )
        try:
            done = command(words, seconds, folder)
        except OSError as error:
            raise _error(built, f"qemu-system-arm does not start: {error.strerror}") from None
        if done.stopped or done.status:
            raise _error(built, _why(built, done, folder, seconds, stepped=elf == built.stepped))
        return _Answer(built, folder, done, f"QEMU {here.emulator.version}").read(count, output_bytes, wanted)


def _why(built: BuiltC, done: Done, folder: Path, seconds: float, *, stepped: bool) -> str:
    """Why a program did not end well, in words."""
    if done.stopped:
        return f"it took more than {seconds:g} s and was ended"
    if done.status == _REFUSED:
        return "network_init refuses its arena"
    if done.status == _FILES:
        return "a file was not read or written: a sample is not as long as the inputs are, or there is no room"
    if done.status == _STACK:
        return "it used all of its stack"
    if done.status == _FAULT:
        return _fault(built, folder / "fault", stepped=stepped)
    if _LOCKED in done.said:
        return "the core locked up: a fault within a fault"
    lines = [line for line in done.said.splitlines() if line.strip()]
    return f"QEMU ended with {done.status}" + (f": {plain(lines[-1])[:200]}" if lines else "")


def _fault(built: BuiltC, path: Path, *, stepped: bool) -> str:
    """Which access the core refused, and in which function."""
    content = path.read_bytes() if path.is_file() else b""
    if len(content) != _FAULTS.size:
        return "the core faulted, and says nothing of it"
    status, _, memory, bus, stack, counter = _FAULTS.unpack(content)
    layout = built.stepped_layout if stepped else built.layout
    name = layout.at(counter)
    place = f" in {name}" if name else ""
    if status & _MEMORY_FAULT:
        return f"the core faulted{place}: an access to 0x{memory:08x}, which is no memory that it may use so"
    if status & _BUS_FAULT:
        return f"the core faulted{place}: there is nothing at 0x{bus:08x}"
    return f"the core faulted{place} (CFSR 0x{status:08x}, stack pointer 0x{stack:08x})"


@dataclass(frozen=True, slots=True)
class _Answer:
    """The files that a program left."""

    built: BuiltC
    folder: Path
    done: Done
    by: str

    def read(self, samples: int, output_bytes: int, wanted: Sequence[tuple[int, int]]) -> RanC:
        counts, outputs, ticks = (self._bytes(name) for name in ("counts", "outputs", "ticks"))
        if len(counts) < _HEAD.size:
            raise _error(self.built, "it left no counts")
        _, ran, steps, stack, run_overhead, step_overhead, wrapped, _ = _HEAD.unpack_from(counts)
        if ran != samples or len(outputs) != samples * output_bytes or len(ticks) != 4 * samples:
            raise _error(self.built, f"{ran} of {samples} samples were run, with {len(outputs)} bytes of outputs")
        taken = struct.unpack(f"<{samples}I", ticks)
        totals = struct.unpack_from(f"<{steps}Q", counts, _HEAD.size)
        overhead = run_overhead / _CALIBRATIONS
        return RanC(
            outputs=_parts(outputs, output_bytes, samples),
            instructions=tuple(None if wrapped else round(_PER_TICK * (ticks - overhead)) for ticks in taken),
            steps=tuple(_PER_TICK * (total / samples - step_overhead / _CALIBRATIONS) for total in totals)
            if samples and any(totals)
            else (),
            stack=stack,
            seconds=self.done.seconds,
            by=self.by,
            traces=self._traces(samples, wanted),
        )

    def _traces(self, samples: int, wanted: Sequence[tuple[int, int]]) -> tuple[tuple[bytes, ...], ...]:
        if not wanted:
            return ()
        each = sum(size for _, size in wanted)
        content = self._bytes("traces")
        if len(content) != each * samples:
            raise _error(self.built, f"the steps left {len(content)} bytes, and {each * samples} were wanted")
        found = []
        for whole in _parts(content, each, samples):
            at, row = 0, []
            for _, size in wanted:
                row.append(whole[at : at + size])
                at += size
            found.append(tuple(row))
        return tuple(found)

    def _bytes(self, name: str) -> bytes:
        path = self.folder / name
        return path.read_bytes() if path.is_file() else b""


def _parts(content: bytes, each: int, count: int) -> tuple[bytes, ...]:
    return tuple(content[at * each : (at + 1) * each] for at in range(count))


def _error(built: BuiltC, why: str) -> QdslError:
    headline = f"the program does not run on the {built.core.label.partition(',')[0]}: {why}"
    return QdslError([Diagnostic("emulation-failed", headline, built.span)])
