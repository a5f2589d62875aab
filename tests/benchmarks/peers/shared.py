"""What every peer's script shares: the decoded pictures, and one line of JSON with the time and memory it took.

Runs in the peer's own environment, so it imports nothing but numpy. A script defines `quantize(job)` and calls `main`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures in one file: uint8, [count, *shape], read one at a time, so that none stays in memory."""

    path: Path
    shape: tuple[int, ...]
    count: int

    def __getitem__(self, index: int) -> np.ndarray:
        """Picture `index` as the model takes it: float32 in 0..1, with a leading 1."""
        size = int(np.prod(self.shape))
        with self.path.open("rb") as file:
            file.seek(index * size)
            pixels = np.frombuffer(file.read(size), np.uint8).reshape(1, *self.shape)
        return pixels.astype(np.float32) * np.float32(1 / 255)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(self.count))


class Reader:
    """The calibration reader that ONNX Runtime defined and others took over."""

    def __init__(self, name: str, pictures: Pictures) -> None:
        self.name, self.pictures = name, pictures
        self.at, self.end = 0, pictures.count

    def __len__(self) -> int:
        return self.pictures.count

    def set_range(self, start_index: int, end_index: int) -> None:
        self.at, self.end = start_index, min(end_index, self.pictures.count)

    def rewind(self) -> None:
        self.at, self.end = 0, self.pictures.count

    def get_first(self) -> dict[str, np.ndarray]:
        return {self.name: self.pictures[0]}

    def get_next(self) -> dict[str, np.ndarray] | None:
        if self.at >= self.end:
            return None
        self.at += 1
        return {self.name: self.pictures[self.at - 1]}

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        found = self.get_next()
        if found is None:
            raise StopIteration
        return found


@dataclass(frozen=True)
class Job:
    """One run: the float model, its input's name, the pictures, the method in the peer's own word, where to write."""

    model: str
    input: str
    pictures: Pictures
    method: str
    out: str
    threads: int


def versions(names: tuple[str, ...]) -> str:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def peak_mb() -> float:
    """The largest resident size this process has had, in MB of 10**6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmHWM")]
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main(quantize: Callable[[Job], Any], packages: tuple[str, ...]) -> None:
    """Run `quantize` on what the command line says; the last line printed is JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--pictures", required=True, type=Path)
    parser.add_argument("--shape", required=True, type=int, nargs=3)
    parser.add_argument("--count", required=True, type=int)
    parser.add_argument("--method", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", required=True, type=int)
    args = parser.parse_args()
    pictures = Pictures(args.pictures, tuple(args.shape), args.count)
    job = Job(args.model, args.input, pictures, args.method, args.out, args.threads)
    before, start = os.times(), time.perf_counter()
    quantize(job)
    seconds, after = time.perf_counter() - start, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    figures = {"seconds": seconds, "cpu": cpu, "peak_mb": peak_mb(), "versions": versions(packages)}
    print(json.dumps(figures), flush=True)
