"""Measure what models cost: each in a process of its own, in turns, so that a machine that drifts moves all of them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from qdsl.diag import Diagnostic, QdslError
from qdsl.harness import bench
from qdsl.harness.environment import environment
from qdsl.harness.profiles import BuildProfile, Profile

RUNS, WARMUP = 200, 20
_BLOCKS = 10  # turns that each model takes
_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")

Heard = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure: its name, its file, and the session options that it asks for."""

    build: str
    model: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """How to measure: runs of each model in all, runs before, samples per run, threads (0: the runtime's choice)."""

    runs: int = RUNS
    warmup: int = WARMUP
    batch: int = 1
    threads: int = 0


def profile(
    target: str, subjects: Sequence[Subject], inputs: Path, wish: Wish, heard: Heard = lambda done, total: None
) -> Profile:
    """Every subject measured on the rows of `inputs` (an npz with one array per model input), in turns. `heard` is told
    of runs done. Raises QdslError (artifact-refused) for a model that the runtime does not run."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(subject, inputs, wish)) for subject in subjects]
        done, total = 0, wish.runs * len(workers)
        for turn, count in enumerate(_blocks(wish.runs)):
            for worker in workers if turn % 2 == 0 else workers[::-1]:
                worker.run(count)
                done += count
                heard(done, total)
        found = tuple(worker.found() for worker in workers)
    return Profile(target, wish.batch, wish.threads, wish.warmup, found, environment())


def _blocks(runs: int) -> list[int]:
    """`runs` in turns of nearly equal length."""
    turns = min(_BLOCKS, runs)
    return [runs // turns + (turn < runs % turns) for turn in range(turns)]


class Worker:
    """The process of one model. A context manager: it ends with the block, whatever happens."""

    def __init__(self, subject: Subject, inputs: Path, wish: Wish) -> None:
        self._subject = subject
        words = ["--model", subject.model, "--inputs", inputs, "--batch", wish.batch]
        words += ["--threads", wish.threads, "--warmup", wish.warmup]
        for name, value in subject.options.items():
            words += ["--option", f"{name}={value}"]
        command = [sys.executable, str(bench.__file__), *map(str, words)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._seconds: list[float] = []
        self._cpu = 0.0
        self._peak: int | None = None
        self._energy: float | None = 0.0
        try:
            self._loaded = self._answer()
        except QdslError:
            self._end()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, count: int) -> None:
        assert self._process.stdin is not None
        before = _joules()
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        found = self._answer()
        after = _joules()
        self._seconds += found["seconds"]
        self._cpu += found["cpu_seconds"]
        self._peak = found["peak_memory"]
        rose = before is not None and after is not None and after >= before
        self._energy = self._energy + (after or 0) - (before or 0) if rose and self._energy is not None else None

    def found(self) -> BuildProfile:
        runs = len(self._seconds)
        return BuildProfile(
            build=self._subject.build,
            seconds=tuple(self._seconds),
            cpu=self._cpu / math.fsum(self._seconds),
            peak_memory=self._peak,
            bare_memory=self._loaded["bare_memory"],
            energy=None if self._energy is None else self._energy / runs,
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"refused": "its process ended"}
        if "refused" in found:
            headline = f"ONNX Runtime does not run the {self._subject.build} model to be profiled"
            raise QdslError([Diagnostic("artifact-refused", headline, label=str(found["refused"]))])
        return found


def _joules() -> float | None:
    """The energy counter of the processor package, where the system offers it and lets it be read."""
    try:
        return int(_RAPL.read_text(encoding="ascii")) / 1e6
    except (OSError, ValueError):
        return None
