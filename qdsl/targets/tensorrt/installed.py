"""What of TensorRT is on this machine: an interpreter that has its module, `trtexec`, NVIDIA GPUs.

Nothing is loaded into this process.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qdsl.spec.words import plain
from qdsl.targets.probing import ask, ask_python

PYTHON = "QDSL_TENSORRT_PYTHON"  # the environment variable that names an interpreter with the module `tensorrt`
# Where NVIDIA's packages for Debian and JetPack put it, beside no search path.
_TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")
_BOARD, _L4T = Path("/proc/device-tree/model"), Path("/etc/nv_tegra_release")
_QUERY = ("--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
_IMPORT = "import tensorrt; print(tensorrt.__version__)"
_THERE = "import importlib.util as u, sys; sys.exit(u.find_spec('tensorrt') is None)"
_VERSION = re.compile(r"\d{1,3}(?:\.\d{1,5}){1,3}")
# `&&&& RUNNING TensorRT.trtexec [TensorRT v100300]`; from 10.x on four or more digits a part can have two.
_BANNER = re.compile(r"TensorRT v(\d{4,6})\b")


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU: its name, its driver's version (of a Jetson its L4T release), its compute capability where that is
    told ("8.6")."""

    name: str
    driver: str = ""
    capability: str = ""

    @property
    def words(self) -> str:
        """`NVIDIA A10 (driver 580.65, compute capability 8.6)`."""
        more = [f"driver {self.driver}"] if self.driver else []
        more += [f"compute capability {self.capability}"] if self.capability else []
        return f"{self.name} ({', '.join(more)})" if more else self.name


@dataclass(frozen=True, slots=True)
class Tool:
    """A program or module that is there: where (of the module, its interpreter), and its version as far as it says.
    `problem`: it is installed and does not work."""

    path: Path
    version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """`module` is an interpreter with the module `tensorrt`, `trtexec` the program; None: not there. `gpu_problem`: a
    driver is installed and does not answer."""

    gpus: tuple[Gpu, ...]
    module: Tool | None
    trtexec: Tool | None
    gpu_problem: str = ""

    @property
    def builder(self) -> Tool | None:
        """What builds engines: the module, which says more of them, else trtexec."""
        return next((tool for tool in (self.module, self.trtexec) if tool is not None and not tool.problem), None)


@cache
def installed() -> Installed:
    """Asked once per process: each answers for itself, in its own time."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        found_gpus, module, trtexec = pool.submit(gpus), pool.submit(_module), pool.submit(_trtexec)
    found, problem = found_gpus.result()
    return Installed(found, module.result(), trtexec.result(), problem)


@cache
def gpus() -> tuple[tuple[Gpu, ...], str]:
    """The NVIDIA GPUs that are here, and what is wrong with their driver."""
    smi = shutil.which("nvidia-smi")
    answer = ask([smi, *_QUERY]) if smi else None
    if answer is not None and not answer.problem:
        found = tuple(_gpu(line) for line in answer.text.splitlines() if line.strip())
        return found, ""
    board = _text(_BOARD).strip("\0\n ")
    if "nvidia" in board.lower() or "jetson" in board.lower():
        release = re.search(r"R(\d+) .*REVISION: ([\d.]+)", _text(_L4T))
        return (Gpu(plain(board)[:100], f"L4T {release[1]}.{release[2]}" if release else ""),), ""
    return (), f"`nvidia-smi` fails: {plain(answer.problem)}" if answer is not None else ""


def _gpu(line: str) -> Gpu:
    name, driver, capability, *_ = [*(plain(part.strip())[:100] for part in line.split(",")), "", ""]
    return Gpu(name, driver, capability if re.fullmatch(r"\d+\.\d+", capability) else "")


def _module() -> Tool | None:
    """The first interpreter that has the module: the one named, or this one, or that of the system, which JetPack
    installs it for."""
    named = os.environ.get(PYTHON, "").strip()
    for python in [Path(named)] if named else dict.fromkeys(_pythons()):
        if ask_python(python, _THERE).problem:
            if named:
                return Tool(python, problem=f"${PYTHON} names it, and it has no module `tensorrt`")
            continue
        answer = ask_python(python, _IMPORT)
        lines = answer.text.strip().splitlines()
        version = lines[-1] if lines and _VERSION.match(lines[-1]) else ""
        problem = answer.problem or ("" if version else "it does not say its version")
        return Tool(python, plain(version)[:40], plain(problem))
    return None


def _pythons() -> Iterator[Path]:
    yield Path(sys.executable)
    yield from (
        Path(found) for found in (shutil.which("python3"), "/usr/bin/python3") if found and Path(found).exists()
    )


def _trtexec() -> Tool | None:
    on_path = shutil.which("trtexec")
    path = Path(on_path) if on_path else _TRTEXEC
    if not os.access(path, os.X_OK):
        return None
    answer = ask([str(path), "--help"])
    banner = _BANNER.search(answer.text)
    return Tool(path, _release(banner[1]) if banner else "", plain(answer.problem))


def _release(digits: str) -> str:
    """`10.3.0` of `100300`, `8.6.1` of `8601`."""
    major, rest = divmod(int(digits), 10_000 if len(digits) > 4 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:1000]
    except OSError:
        return ""
