"""What besides the inputs can move the last bit of a range: tool versions, the capability table, the kind of CPU."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from qdsl.capability import source
from qdsl.lock.types import Named
from qdsl.version import __version__

_TOOLS = ("numpy", "onnx", "onnxruntime", "pillow")
_CPUINFO = Path("/proc/cpuinfo")
_MOST = 1 << 20

# Instruction sets that decide which kernels a runtime picks; the order is that of the lock's line.
_ISA = (
    *("avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
# The same fact under the names of x86 and of Arm.
_VENDOR = ("vendor_id", "CPU implementer")
_FAMILY = ("cpu family", "CPU part")
_FLAGS = ("flags", "Features")


def tool_versions() -> Named:
    """qdsl and the packages whose arithmetic or decoding enters a range, as installed; none of them is imported."""
    return tuple(sorted([("qdsl", __version__), *((name, _version(name)) for name in _TOOLS)]))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def table_hashes(tables: Iterable[str]) -> Named:
    """SHA-256 of capability tables by name, whatever line ends their files have here."""
    return tuple((name, hashlib.sha256(source(name)).hexdigest()) for name in sorted(set(tables)))


def cpu_kind(cpuinfo: Path = _CPUINFO) -> Named:
    """Architecture, vendor, family and the instruction sets that matter: kinds of machines, never one machine."""
    found = {"arch": platform.machine() or "unknown"}
    facts = _first_processor(cpuinfo)
    for key, names in (("vendor", _VENDOR), ("family", _FAMILY)):
        value = next((facts[name] for name in names if name in facts), "")
        if value:
            found[key] = value[:40]
    flags = {flag for name in _FLAGS for flag in facts.get(name, "").split()}
    found["isa"] = " ".join(name for name in _ISA if name in flags) or "unknown"
    return tuple(sorted(found.items()))


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as file:
            first = file.read(_MOST).split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
