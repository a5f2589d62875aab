"""Run a built program under QEMU on the samples that it is given: outputs, instructions, stack."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.targets.results import NotHere
from qdsl.targets.stm32.emulated.building import BuiltC
from qdsl.targets.stm32.emulated.installed import Tools, tools
from qdsl.targets.stm32.emulated.session import SECONDS, failed, session

_PER_TICK = 1.25  # instructions: 40 ns, 32 ns each
_CALIBRATIONS = 16
_HEAD = struct.Struct("<8I")  # as `counts` of project/emulated.c


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
    sizes: tuple[int, int],
    *,
    steps: bool = False,
    wanted: Sequence[tuple[int, int]] = (),
    seconds: float = SECONDS,
    found: Tools | None = None,
) -> RanC | NotHere:
    """Run it once per sample, in one process: a sample is the bytes of all inputs, as they are stored, and `sizes` are
    those of all inputs and of all outputs. `steps` counts each step, and `wanted` says then, per step, where its output
    lies in the arena (offset, bytes), to have it in the traces. `seconds` are for one sample. Raises QdslError
    emulation-failed."""
    here = found or tools()
    if here.missing or here.emulator is None:
        return NotHere(here.missing)
    begun = time.monotonic()
    with session(built, here.emulator, sizes, steps=steps, wanted=wanted, seconds=seconds) as device:
        outputs = tuple(device.run(sample) for sample in samples)
        device.end()
        left = _Left(built, device.folder, len(outputs), stepped=device.stepped)
        counts = left.counts()
        return RanC(
            outputs=outputs,
            instructions=left.instructions(counts),
            steps=left.steps(counts),
            stack=_HEAD.unpack_from(counts)[3],
            seconds=time.monotonic() - begun,
            by=f"QEMU {here.emulator.version}",
            traces=left.traces(wanted),
        )


@dataclass(frozen=True, slots=True)
class _Left:
    """The files that a program left."""

    built: BuiltC
    folder: Path
    samples: int
    stepped: bool

    def counts(self) -> bytes:
        counts = self._bytes("counts")
        if len(counts) < _HEAD.size:
            raise failed(self.built, "it left no counts")
        _, ran, steps, *_ = _HEAD.unpack_from(counts)
        if ran != self.samples or len(counts) != _HEAD.size + 8 * steps:
            raise failed(self.built, f"its counts are of {ran} samples, and it had {self.samples}")
        return counts

    def instructions(self, counts: bytes) -> tuple[int | None, ...]:
        *_, run_overhead, _, wrapped, _ = _HEAD.unpack_from(counts)
        ticks = self._bytes("ticks")
        if len(ticks) != 4 * self.samples:
            raise failed(self.built, "it left counts of some samples alone")
        taken = struct.unpack(f"<{self.samples}I", ticks)
        return tuple(None if wrapped else round(_PER_TICK * (one - run_overhead / _CALIBRATIONS)) for one in taken)

    def steps(self, counts: bytes) -> tuple[float, ...]:
        if not self.stepped or not self.samples:
            return ()
        _, _, steps, _, _, overhead, *_ = _HEAD.unpack_from(counts)
        totals = struct.unpack_from(f"<{steps}Q", counts, _HEAD.size)
        return tuple(_PER_TICK * (total / self.samples - overhead / _CALIBRATIONS) for total in totals)

    def traces(self, wanted: Sequence[tuple[int, int]]) -> tuple[tuple[bytes, ...], ...]:
        if not wanted:
            return ()
        content = self._bytes("traces")
        each = sum(size for _, size in wanted)
        if len(content) != each * self.samples:
            raise failed(self.built, f"its steps left {len(content)} bytes, and {each * self.samples} were wanted")
        found, at = [], 0
        for _ in range(self.samples):
            row = []
            for _, size in wanted:
                row.append(content[at : at + size])
                at += size
            found.append(tuple(row))
        return tuple(found)

    def _bytes(self, name: str) -> bytes:
        path = self.folder / name
        return path.read_bytes() if path.is_file() else b""
