"""`qdsl doctor`: which targets can be built, checked, run or only emitted here, and how to get the rest."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qdsl.capability import load
from qdsl.capability.sums import Cpu
from qdsl.harness import emulators, machine
from qdsl.lock.machine import cpu_kind
from qdsl.spec.abilities import Abilities, Ability
from qdsl.targets import TARGETS, target_of
from qdsl.targets.probing import package

_CPUINFO, _BOARD = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
_FAMILIES = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}
_DISTRIBUTION = "qdsl-compiler"
# What more there can be: its distribution, the extra that brings it, and what is done with it.
_EXTRAS = (
    ("ray", "distributed", "calibration and sweeps on a Ray cluster"),
    ("fast-sugiyama", "graph", "the drawn graph on the page of an audit"),
    ("av", "video", "`data .. from video`"),
    ("torch", "train", "running models with gradients, exporting those of the examples"),
)


@dataclass(frozen=True)
class Machine:
    """This machine: its processor, the instruction sets that decide which integer kernels there are, the kind of CPU
    that a recipe would call it ("x86_vnni"), and the software below."""

    processor: str
    architecture: str
    instructions: str
    kind: str
    system: str
    python: str


@dataclass(frozen=True)
class TargetHealth:
    """A target of the index and what this machine can do with its artifacts, by what is done."""

    name: str
    title: str
    abilities: Abilities


@dataclass(frozen=True)
class Extra:
    """Something beside the targets: what it is for, and whether it is here."""

    name: str
    about: str
    ability: Ability


@dataclass(frozen=True)
class DoctorResult:
    """`targets` are all of the index, or the one asked for; `extras` what has to do with none of them alone."""

    machine: Machine
    targets: tuple[TargetHealth, ...]
    extras: tuple[Extra, ...]

    @cached_property
    def broken(self) -> tuple[str, ...]:
        """What is installed and does not work, each in a few words; what is not installed is not broken."""
        told = [ability.why for each in self.targets for ability in each.abilities.values() if ability.broken]
        told += [f"{each.name}: {each.ability.why}" for each in self.extras if each.ability.broken]
        return tuple(dict.fromkeys(told))

    @property
    def holds(self) -> bool:
        """Whether nothing that is installed is broken."""
        return not self.broken


def doctor(target: str | None = None) -> DoctorResult:
    """What can be done on this machine with the artifacts of every target, or of `target` alone, and how to get the
    rest. Nothing is installed, and no target's software is loaded into this process. Raises QdslError target-absent."""
    names = sorted(TARGETS) if target is None else [target]
    found = [target_of(name) for name in names]
    with ThreadPoolExecutor(max_workers=max(1, len(found))) as pool:  # they wait for other processes
        abilities = list(pool.map(lambda each: each.abilities(), found))
    told = (TargetHealth(one.name, load(one.table).title, able) for one, able in zip(found, abilities, strict=True))
    return DoctorResult(_machine(), tuple(told), tuple(_extras()) if target is None else ())


def _machine() -> Machine:
    cpuinfo = _text(_CPUINFO)
    kinds = (cpu for name in TARGETS for cpu in load(target_of(name).table).cpus)
    return Machine(
        processor=machine.processor(cpuinfo, _text(_BOARD)),
        architecture=platform.machine() or "unknown",
        instructions=machine.instructions(cpuinfo),
        kind=_kind(kinds),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def _kind(known: Iterable[Cpu]) -> str:
    """The most special kind of CPU that this one is, "" where no table knows it."""
    family = _FAMILIES.get(platform.machine().lower(), "")
    has = set(dict(cpu_kind()).get("isa", "").split())
    able = [cpu for cpu in known if cpu.family == family and (not cpu.isa or has & set(cpu.isa))]
    return max(able, key=lambda cpu: bool(cpu.isa)).name if able else ""


def _extras() -> Iterable[Extra]:
    for cpu in emulators.CPUS.values():
        yield Extra(f"--on {cpu.name}", f"{cpu.about}, emulated: `qdsl verify --on {cpu.name}`", _emulated(cpu))
    for name, extra, about in _EXTRAS:
        version = package(name)
        get = f"pip install '{_DISTRIBUTION}[{extra}]'"
        ability = Ability(True, f"{name} {version}") if version else Ability(False, f"{name} is not installed", get)
        yield Extra(extra, about, ability)


def _emulated(cpu: emulators.Cpu) -> Ability:
    lacking = emulators.missing(cpu)
    if not lacking:
        return Ability(True, "qemu is here")
    return Ability(False, f"there is no {lacking}".replace("no an ", "no "), emulators.GET)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
