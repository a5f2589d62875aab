"""The process around a verb: streams that take what is printed whatever becomes of them, and Ctrl-C at any moment."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn, TextIO

EXIT_INTERRUPTED = 130
_STREAMS = {1: "standard output", 2: "standard error"}


def closed_streams() -> list[str]:
    """Which of standard output and error are closed, in words. They are opened on nothing, as standard input is: else
    the next file that is opened would take their place, and get what is printed."""
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    return [_STREAMS[number] for number in closed if number in _STREAMS]


def lasting_streams() -> None:
    """Whoever reads may leave: the verb goes on, and what it still prints goes nowhere. Names that are no UTF-8 are
    printed with escapes."""
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def abandon(stream: TextIO) -> None:
    """What is still unwritten goes nowhere, or the interpreter would fail once more on its way out."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def leave(code: int) -> NoReturn:
    """End the process now. The interpreter's own way out waits for threads, and ends as if killed by the signal where
    it once saw Ctrl-C inside an `exec`."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


class _Raw(io.FileIO):
    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(memoryview(data))  # type: ignore[arg-type]


def _lasting(stream: TextIO) -> TextIO:
    raw = _Raw(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty() or raw.fileno() == 2,
    )


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class Interrupts:
    """Ctrl-C. Before a verb is at work it ends the process at once. At work it is an exception, so that what is half
    written goes; `seen` outlasts code that turns the exception into another one, or swallows it. A second one ends the
    process at once."""

    def __init__(self) -> None:
        self.seen = False
        # Whoever started this may have said that it is not to be interrupted.
        self._ours = signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL)

    def starting(self) -> None:
        self._set(self._leave)

    def working(self) -> None:
        self._set(self._raise)

    def ending(self) -> None:
        """All is done and told: nothing is left to interrupt."""
        if self._ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def check(self) -> None:
        """Raise again what was swallowed."""
        if self.seen:
            raise KeyboardInterrupt

    def _set(self, handler: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        self._set(self._leave)
        raise KeyboardInterrupt

    def _leave(self, number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(2, b"interrupted\n")
        os._exit(EXIT_INTERRUPTED)


INTERRUPTS = Interrupts()
