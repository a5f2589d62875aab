"""A program under QEMU that waits for samples: one process for as many as there are, over two pipes that have names."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec.scratch import scratch
from qdsl.targets.stm32.emulated.building import BuiltC
from qdsl.targets.stm32.emulated.commands import end, started
from qdsl.targets.stm32.emulated.endings import why
from qdsl.targets.stm32.emulated.installed import Tool

SECONDS = 120.0  # of one sample
_LOOK = 0.05  # seconds, after which it is looked whether the process still lives
_WHOLE = 1 << 16


@contextmanager
def session(
    built: BuiltC,
    emulator: Tool,
    sizes: tuple[int, int],
    *,
    steps: bool = False,
    wanted: Sequence[tuple[int, int]] = (),
    seconds: float = SECONDS,
) -> Iterator[Session]:
    """The program, waiting, as long as the block lasts. `sizes` are the bytes of all inputs and of all outputs; `steps`
    and `wanted` as `running.run` has them; `seconds` are for one sample. OSError where there is no room."""
    elf = built.stepped if steps or wanted else built.elf
    words = (
        *(str(emulator.path), "-M", built.core.machine, "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-icount", "shift=5", "-kernel", str(elf)),
    )
    with scratch() as folder:
        for name in ("inputs", "outputs"):
            os.mkfifo(folder / name)
        if wanted:
            (folder / "wanted").write_bytes(b"".join(struct.pack("<2I", *place) for place in wanted))
        # For both directions each: opening does not wait for the other end, nor does a dead one end this process.
        pipes = [os.open(folder / name, os.O_RDWR | os.O_NONBLOCK) for name in ("inputs", "outputs")]
        process = None
        try:
            process = _started(built, words, folder)
            yield Session(built, folder, process, pipes, sizes, elf == built.stepped, seconds)
        finally:
            for pipe in pipes:
                os.close(pipe)
            if process is not None:
                end(process)


def _started(built: BuiltC, words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    try:
        with (folder / "said").open("wb") as said:
            return started(words, folder, said)
    except OSError as error:
        raise failed(built, f"qemu-system-arm does not start: {error.strerror}") from None


@dataclass(slots=True)
class Session:
    """See `session`."""

    built: BuiltC
    folder: Path
    process: subprocess.Popen[bytes]
    pipes: list[int]
    sizes: tuple[int, int]
    stepped: bool
    seconds: float
    samples: int = 0

    def run(self, sample: bytes) -> bytes:
        """The bytes of all outputs, for those of all inputs. Raises QdslError emulation-failed."""
        if len(sample) != self.sizes[0]:
            raise failed(self.built, f"a sample has {len(sample)} bytes, and the inputs {self.sizes[0]}")
        rest, found, until = memoryview(sample), bytearray(), time.monotonic() + self.seconds
        while rest or len(found) < self.sizes[1]:
            readable, writable, _ = select.select([self.pipes[1]], [self.pipes[0]] if rest else [], [], _LOOK)
            if writable:
                rest = rest[os.write(self.pipes[0], rest[:_WHOLE]) :]
            if readable:
                found += os.read(self.pipes[1], self.sizes[1] - len(found) + 1)
            elif not writable:
                self._look(until)
        self.samples += 1
        return bytes(found)

    def end(self) -> None:
        """Let it see that no more samples come, and leave its counts. Raises QdslError emulation-failed."""
        os.close(self.pipes.pop(0))
        try:
            self.process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            self._failed(stopped=True)
        if self.process.returncode:
            self._failed()

    def _look(self, until: float) -> None:
        if self.process.poll() is not None:
            self._failed()
        if time.monotonic() > until:
            self._failed(stopped=True)

    def _failed(self, *, stopped: bool = False) -> NoReturn:
        layout = self.built.stepped_layout if self.stepped else self.built.layout
        status = None if stopped else self.process.returncode
        raise failed(self.built, why(status, self.folder, layout, self.seconds))


def failed(built: BuiltC, reason: str) -> QdslError:
    """QdslError emulation-failed, at the place that the network comes from."""
    headline = f"the program does not run on the {built.core.label.partition(',')[0]}: {reason}"
    return QdslError([Diagnostic("emulation-failed", headline, built.span)])
