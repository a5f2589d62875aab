"""One program, run without a shell, held to its time, and ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qdsl.spec.scratch import scratch

_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended: its exit status (below 0: the signal), what it said on both channels, and how long it ran;
    `stopped`: it took more than it was given, and was ended."""

    status: int
    said: str
    seconds: float
    stopped: bool = False


def command(words: Sequence[str], seconds: float, cwd: Path) -> Done:
    """Run it in `cwd`, for so many seconds at most. OSError where it does not start."""
    start = time.monotonic()
    with scratch() as aside:
        told = aside / "said"
        with told.open("wb") as said:
            process = started(words, cwd, said)
            stopped = False
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                stopped = True
            finally:
                end(process)
        return Done(process.returncode, _text(told), time.monotonic() - start, stopped)


def started(words: Sequence[str], cwd: Path, said: BinaryIO) -> subprocess.Popen[bytes]:
    """A process in a session of its own, so that a compiler's parts end with it. OSError where it does not start."""
    return subprocess.Popen(
        words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of it and of what it started."""
    if process.poll() is None:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST).decode("utf-8", "replace")
