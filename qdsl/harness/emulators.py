"""Processors that this machine can stand in for, by qemu's user-mode emulation: what it takes, and how Python runs so.

Of the processor's own kind (x86 on x86, Arm on Arm) this very interpreter runs under the emulator; of the other kind a
Python of that architecture with onnxruntime and numpy, which `python -m qdsl.harness.get_emulators` fetches. What is
computed there is what such a processor computes, instruction by instruction; how long it takes says nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError, nearest
from qdsl.harness.machine import EMULATED
from qdsl.spec.scratch import scratch

PLACE = "QDSL_EMULATORS"  # the environment variable that names the folder of what was fetched
GET = "python -m qdsl.harness.get_emulators"
ARM, X86 = "aarch64", "x86_64"
_ARCHITECTURES = {"amd64": X86, "arm64": ARM}
_HASWELL = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht syscall nx "
    "rdtscp lm pni pclmulqdq ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand lahf_lm abm bmi1 avx2 "
    "bmi2 erms"
)
_ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV82 = f"{_ARMV8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor: its name here and in qemu, its architecture, what /proc/cpuinfo says of each core there, and what
    `machine.instructions` must find."""

    name: str
    qemu: str
    architecture: str
    cpuinfo: str
    instructions: str
    about: str


def _arm(name: str, part: str, features: str, instructions: str, about: str) -> Cpu:
    core = f"Features\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
    return Cpu(name, name, ARM, f"{core}CPU part\t: {part}\nCPU revision\t: 4\n", instructions, about)


_X86_CORE = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 60\nmodel name\t: Intel Core Processor (Haswell)\n"
CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("haswell", "Haswell", X86, f"{_X86_CORE}flags\t\t: {_HASWELL}\n", "avx2", "x86 with AVX2, without VNNI"),
        _arm("cortex-a76", "0xd0b", _ARMV82, "asimd asimddp", "Raspberry Pi 5: Arm with the dot product"),
        _arm("cortex-a72", "0xd08", _ARMV8, "asimd", "Raspberry Pi 4: ARMv8.0"),
        _arm("cortex-a53", "0xd03", _ARMV8, "asimd", "Raspberry Pi 3 and Zero 2: ARMv8.0"),
    )
}
_CORES = 4


@dataclass(frozen=True, slots=True)
class Emulator:
    """How Python runs as another processor: the words before its own arguments, the environment, and what the run is
    called wherever its results stand."""

    cpu: Cpu
    words: tuple[str, ...]
    environment: Mapping[str, str]
    label: str


def cpus(names: Sequence[str]) -> tuple[Cpu, ...]:
    """The processors of these names, each once. Raises QdslError cpu-unknown."""
    for name in names:
        if name not in CPUS:
            close = nearest(name, CPUS) or tuple(CPUS)
            headline = f"there is no processor `{name[:80]}` to be emulated"
            raise QdslError([Diagnostic("cpu-unknown", headline, help=(_known(close),))])
    return tuple(CPUS[name] for name in dict.fromkeys(names))


def _known(names: Sequence[str]) -> str:
    return "there are " + ", ".join(f"`{name}` ({CPUS[name].about})" for name in names)


def require(found: Sequence[Cpu]) -> None:
    """Raises QdslError emulator-absent with everything that is missing for any of them."""
    absent = [Diagnostic(*_absent(cpu, why)) for cpu in found if (why := missing(cpu))]
    if absent:
        raise QdslError(absent)


@contextmanager
def emulator(cpu: Cpu) -> Iterator[Emulator]:
    """The processor, ready to run Python for as long as the block lasts. Raises QdslError emulator-absent."""
    require([cpu])
    qemu = _qemu(cpu.architecture)
    with scratch() as root:
        own = cpu.architecture == architecture()
        python = sys.executable if own else _foreign_python(root)
        # One root per processor: what /proc/cpuinfo says must be what the processor does, and qemu shows that of the
        # machine it runs on (or none that the runtime reads).
        (root / "proc").mkdir()
        cores = (f"processor\t: {number}\n{cpu.cpuinfo}\n" for number in range(_CORES))
        (root / "proc/cpuinfo").write_text("".join(cores), encoding="utf-8")
        words = (str(qemu), "-L", str(root), "-cpu", cpu.qemu, "-0", sys.executable if own else python, python)
        label = f"{cpu.name}, {_version(qemu)}"
        yield Emulator(cpu, words, {**_environment(own), EMULATED: label}, label)


def architecture() -> str:
    """That of this machine, in qemu's words."""
    found = platform.machine().lower()
    return _ARCHITECTURES.get(found, found)


def place() -> Path:
    """The folder of what was fetched."""
    told = os.environ.get(PLACE, "").strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME", "").strip() or Path.home() / ".cache")
    return Path(told).absolute() if told else cache / "qdsl" / "emulators"


def missing(cpu: Cpu) -> str:
    """What is not here to emulate it, in words; "" for nothing."""
    if sys.platform != "linux":
        return "qemu's user-mode emulation, which runs on Linux only"
    if cpu.architecture != architecture() and cpu.architecture == X86:
        return "an x86 machine: this one is none, and no x86 Python is fetched"
    if _qemu(cpu.architecture) is None:
        return f"`qemu-{cpu.architecture}`"
    if cpu.architecture != architecture() and _python_of(place()) is None:
        return f"an {cpu.architecture} Python with onnxruntime"
    return ""


def _absent(cpu: Cpu, why: str) -> tuple[str, str]:
    return "emulator-absent", f"`{cpu.name}` cannot be emulated here: there is no {why}".replace("no an ", "no ")


def _qemu(kind: str) -> Path | None:
    """The emulator of an architecture: that which was fetched, else that of the system."""
    for name in (f"qemu-{kind}-static", f"qemu-{kind}"):
        path = place() / "qemu" / name
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(f"qemu-{kind}") or shutil.which(f"qemu-{kind}-static")
    return Path(found) if found else None


def _python_of(folder: Path) -> Path | None:
    """The interpreter of another architecture in a folder that was fetched."""
    whole = (folder / "site" / "onnxruntime").is_dir() and (folder / "site" / "numpy").is_dir()
    found = sorted(folder.glob("root/usr/bin/python3.*"))
    return found[0] if whole and found else None


def _foreign_python(root: Path) -> str:
    """Links of the fetched system into `root`; the interpreter to run."""
    folder = place()
    for entry in (folder / "root").iterdir():
        if entry.name != "proc":
            (root / entry.name).symlink_to(entry)
    return str(_python_of(folder))


def _environment(own: bool) -> dict[str, str]:
    """What the emulated process sees: of another architecture, nothing of this one's Python and libraries."""
    found = dict(os.environ)
    if own:
        # What a figure is computed with is no matter of the processor's. numpy reads every other element with gather
        # instructions where there is AVX2, and qemu 7.2 gets those wrong: np.maximum over a step of 2 repeats its
        # first value.
        found["NPY_DISABLE_CPU_FEATURES"] = " ".join(_optional_instructions())
    else:
        found = {name: value for name, value in found.items() if not name.startswith(("PYTHON", "LD_"))}
        found |= {"PYTHONHOME": "/usr", "PYTHONPATH": str(place() / "site")}
    return {**found, "PYTHONDONTWRITEBYTECODE": "1"}


def _optional_instructions() -> tuple[str, ...]:
    """Those that numpy has kernels for beside the ones that every processor runs; numpy 1 has them in another place."""
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        with suppress(ImportError):
            return tuple(getattr(import_module(module), "__cpu_dispatch__", ()))
    return ()


def _version(qemu: Path | None) -> str:
    """`qemu 7.2`"""
    done = subprocess.run([str(qemu), "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    at = words.index("version") + 1 if "version" in words else len(words)
    return "qemu " + ".".join(words[at].split(".")[:2]) if at < len(words) else "qemu"
