"""What the benchmark scripts share: whole-process timing in turn, medians, and the line about the machine."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # this checkout is what is measured, not one installed elsewhere
    sys.path.insert(0, str(ROOT))
# Instructions that decide how fast 8-bit arithmetic is.
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what, the measured figure, the bound, and whether it holds."""

    what: str
    figure: float
    unit: str
    bound: float

    @property
    def holds(self) -> bool:
        return self.figure <= self.bound


def arguments(description: str, runs: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=runs, help=f"counted runs of each side (default {runs})")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is broken")
    return parser.parse_args()


def alternate(sides: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Call every side in turn, `runs` times after one call that is not counted; seconds per side."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(runs + 1):
        for name, measure in sides.items():
            seconds = measure()
            if turn:
                taken[name].append(seconds)
    return taken


def process(command: Sequence[str], accept: Sequence[int] = (0,)) -> Callable[[], float]:
    """A side that runs a whole process and takes its wall time in seconds."""

    def measure() -> float:
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        seconds = time.perf_counter() - start
        if done.returncode not in accept:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode()[-2000:]}")
        return seconds

    return measure


def qdsl(*words: str) -> list[str]:
    return [sys.executable, "-m", "qdsl", *words]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    """One line: processor, cores, Python and the versions that matter."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = named[0] if named else model
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "lark")
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def flags() -> str:
    """One line: which of FLAGS the processor has, and how busy the machine is."""
    info = Path("/proc/cpuinfo")
    words = set(info.read_text().split()) if info.exists() else set()
    found = ", ".join(name for name in FLAGS if name in words) or "unknown"
    return f"processor flags {found}; load {', '.join(f'{load:.1f}' for load in os.getloadavg())}"


def finish(rows: Sequence[Row], check: bool) -> int:
    """Print the table; 1 when `check` is set and a bound is broken."""
    width = max(len(row.what) for row in rows)
    for row in rows:
        verdict = "holds" if row.holds else "BROKEN"
        print(f"{row.what:{width}}  {row.figure:8.3f} {row.unit:2}  bound {row.bound:g} {row.unit:2}  {verdict}")
    return int(check and not all(row.holds for row in rows))
