"""What a measurement was made on: the processor, its instruction sets, the software, and whether it is a real one.

Needs Python alone, and numpy for instruction sets where the system keeps no /proc/cpuinfo; nothing of qdsl.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

EMULATED = "QDSL_EMULATED"  # the environment variable by which whoever starts an emulator says which
_PROC, _TREE = Path("/proc"), Path("/proc/device-tree/model")
_LONGEST = 120
# Instruction sets that decide which integer kernels a runtime has, as /proc/cpuinfo writes them.
_SETS = ("asimd", "asimddp", "i8mm", "sve", "avx2", "avx512bw", "avx_vnni", "avx512_vnni", "amx_int8")
# Arm processors have no name of their own in /proc/cpuinfo: Arm Ltd is implementer 0x41, these are its parts.
_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}


def environment() -> dict[str, str]:
    """The machine and the software, as far as both say so, in the order in which people ask."""
    cpuinfo = _text(_PROC / "cpuinfo")
    emulated = emulator()
    found = {
        "processor": processor(cpuinfo, _text(_TREE)),
        "architecture": platform.machine(),
        "instructions": instructions("" if emulated else cpuinfo),
        "emulator": emulated,
        "processors": str(os.cpu_count() or 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in ("onnxruntime", "numpy"):
        try:
            found[package] = __import__(package).__version__
        except ImportError:
            continue
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    for name, path in (("governor", governor), ("board", _TREE)):
        found[name] = _text(path).strip("\0\n ")[:80]
    if hasattr(os, "getloadavg"):
        found["load"] = f"{os.getloadavg()[0]:.2f}"
    return {name: words for name, words in found.items() if words}


def processor(cpuinfo: str, board: str = "") -> str:
    """What the processor is called: its own name, else the board's with the name of the core. `cpuinfo` and `board`
    are the texts of /proc/cpuinfo and of the device tree's model."""
    said = _first(cpuinfo)
    for key in ("model name", "hardware", "cpu model"):
        if said.get(key):
            return said[key][:_LONGEST]
    model = said.get("model", "")
    named = [model if not model.isdigit() else "", board.strip("\0\n ")]
    where = next((name for name in named if name), "")
    core = _PARTS.get(said.get("cpu part", ""), "") if said.get("cpu implementer") == "0x41" else ""
    found = f"{where} ({core})" if where and core else where or core or platform.processor()
    return found[:_LONGEST] or "unknown"


def instructions(cpuinfo: str) -> str:
    """The instruction sets that matter to integer kernels, in words: by `cpuinfo`, else as numpy finds them."""
    said = _first(cpuinfo)
    words = set(said.get("flags", said.get("features", "")).split()) or _found_by_numpy()
    return " ".join(name for name in _SETS if name in words)


def emulator() -> str:
    """`cortex-a76, qemu 7.2` where this process runs under an emulator of processors, "" on a real one: whoever started
    it says so, or the program that really runs is one. (qemu shows its guest a `/proc/self/exe` of the guest's, but not
    the one of its thread.)"""
    told = os.environ.get(EMULATED, "").strip()
    if told:
        return told[:_LONGEST]
    try:
        program = (_PROC / "thread-self/exe").readlink().name
        words = (_PROC / "thread-self/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    if program.startswith("qemu-"):
        at = words.index("-cpu") + 1 if "-cpu" in words else len(words)
        kind = words[at] if at < len(words) else os.environ.get("QEMU_CPU", "")
        return ", ".join(word for word in (kind, "qemu") if word)
    return "rosetta" if "VirtualApple" in _text(_PROC / "cpuinfo") else ""


def _first(cpuinfo: str) -> Mapping[str, str]:
    """The first value of each key, in small letters."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip().lower(), value.strip())
    return found


def _found_by_numpy() -> set[str]:
    features: Mapping[str, bool] = {}
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            features = import_module(module).__cpu_features__
            break
        except (ImportError, AttributeError):
            continue
    plain = {name.replace("_", ""): name for name in _SETS}
    return {plain[name.lower()] for name, has in features.items() if has and name.lower() in plain}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
