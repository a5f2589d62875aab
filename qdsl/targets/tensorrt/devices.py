"""NVIDIA devices by the names that recipes use: compute capability, DLA cores, memory, which TensorRT they get."""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.diag import nearest
from qdsl.targets.tensorrt.versions import NEWEST, Release

Capability = tuple[int, int]
Range = tuple[Release, Release]

# Where the records come from.
_MATRIX = "TensorRT support matrix, Hardware and Precision"
_BOARD = "data sheet of the module"
_JETPACK = "JetPack release notes"

_8_6, _10_3, _10_13, _10_16, _11_4 = Release(8, 6), Release(10, 3), Release(10, 13), Release(10, 16), Release(11, 4)
_ANY: tuple[Range, ...] = ((_8_6, NEWEST),)
_BLACKWELL: tuple[Range, ...] = ((Release(10, 8), NEWEST),)

# What each JetPack brings. 6 never gets 11.x; of 7 only 7.2.2 and later do, on AGX Orin and Thor (release notes of
# TensorRT 11.4).
_ORIN = (("6.0", _8_6), ("6.1", _10_3), ("6.2", _10_3), ("7.2", _10_16))


@dataclass(frozen=True, slots=True)
class Device:
    """One device. `capability` is its CUDA compute capability, `dla` its number of deep learning accelerators, `memory`
    in GB of its most sold kind, shared with the CPU on a Jetson. `gets` are the ranges of versions, both ends in it,
    that run there at all; `jetpacks` says which JetPack brings which (a GPU of its own takes what is installed);
    `usual` is the version where a recipe names none."""

    name: str
    title: str
    capability: Capability
    memory: int
    source: str
    usual: Release = NEWEST
    dla: int = 0
    gets: tuple[Range, ...] = _ANY
    jetpacks: tuple[tuple[str, Release], ...] = ()

    @property
    def jetson(self) -> bool:
        return bool(self.jetpacks)

    def runs(self, release: Release) -> bool:
        """Whether this version exists for the device."""
        return any(first <= release <= last for first, last in self.gets)

    def jetpacks_with(self, release: Release) -> tuple[str, ...]:
        """The JetPacks that bring this version."""
        return tuple(name for name, brings in self.jetpacks if brings == release)


def _jetson(
    name: str,
    title: str,
    capability: Capability,
    memory: int,
    dla: int,
    usual: Release,
    gets: tuple[Range, ...],
    jetpacks: tuple[tuple[str, Release], ...],
) -> Device:
    return Device(name, title, capability, memory, f"{_BOARD}; {_JETPACK}", usual, dla, gets, jetpacks)


def _gpu(name: str, title: str, capability: Capability, memory: int, gets: tuple[Range, ...] = _ANY) -> Device:
    return Device(name, title, capability, memory, _MATRIX, gets=gets)


# JetPack 5, the last one for Xavier, brings 8.5; the support matrix of 8.6.1 still names JetPack's CUDA 11.4.
_JETPACK_5 = (("5.1", Release(8, 5)),)
_XAVIER: tuple[Range, ...] = ((_8_6, _8_6),)
_UNTIL_10: tuple[Range, ...] = ((_8_6, _10_16),)
_AGX_ORIN: tuple[Range, ...] = ((_8_6, _10_16), (_11_4, NEWEST))
_THOR: tuple[Range, ...] = ((_10_13, _10_16), (_11_4, NEWEST))

_ALL = (
    _jetson("jetson-orin-nano", "Jetson Orin Nano", (8, 7), 8, 0, _10_3, _UNTIL_10, _ORIN),
    _jetson("jetson-orin-nx", "Jetson Orin NX", (8, 7), 16, 2, _10_3, _UNTIL_10, _ORIN),
    _jetson("jetson-agx-orin", "Jetson AGX Orin", (8, 7), 64, 2, _10_3, _AGX_ORIN, (*_ORIN, ("7.2.2", _11_4))),
    _jetson("jetson-thor", "Jetson Thor", (11, 0), 128, 0, _10_13, _THOR, (("7.0", _10_13), ("7.2.2", _11_4))),
    _jetson("jetson-xavier-nx", "Jetson Xavier NX", (7, 2), 8, 2, _8_6, _XAVIER, _JETPACK_5),
    _jetson("jetson-agx-xavier", "Jetson AGX Xavier", (7, 2), 32, 2, _8_6, _XAVIER, _JETPACK_5),
    _gpu("t4", "T4", (7, 5), 16),
    _gpu("a2", "A2", (8, 6), 16),
    _gpu("a10", "A10", (8, 6), 24),
    _gpu("a30", "A30", (8, 0), 24),
    _gpu("a40", "A40", (8, 6), 48),
    _gpu("a100", "A100", (8, 0), 80),
    _gpu("l4", "L4", (8, 9), 24),
    _gpu("l40", "L40", (8, 9), 48),
    _gpu("l40s", "L40S", (8, 9), 48),
    _gpu("h100", "H100", (9, 0), 80),
    _gpu("h200", "H200", (9, 0), 141),
    _gpu("gh200", "GH200", (9, 0), 96),
    _gpu("b200", "B200", (10, 0), 180, _BLACKWELL),
    _gpu("rtx-2080-ti", "GeForce RTX 2080 Ti", (7, 5), 11),
    _gpu("rtx-3060", "GeForce RTX 3060", (8, 6), 12),
    _gpu("rtx-3080", "GeForce RTX 3080", (8, 6), 10),
    _gpu("rtx-3090", "GeForce RTX 3090", (8, 6), 24),
    _gpu("rtx-4070", "GeForce RTX 4070", (8, 9), 12),
    _gpu("rtx-4080", "GeForce RTX 4080", (8, 9), 16),
    _gpu("rtx-4090", "GeForce RTX 4090", (8, 9), 24),
    _gpu("rtx-5080", "GeForce RTX 5080", (12, 0), 16, _BLACKWELL),
    _gpu("rtx-5090", "GeForce RTX 5090", (12, 0), 32, _BLACKWELL),
)
DEVICES = {device.name: device for device in _ALL}


class DeviceError(ValueError):
    """A device that is not known. `near` are the names most like it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name[:60]}` is no device that is known for TensorRT")
        self.near = nearest(name.strip().lower().replace("_", "-").replace(" ", "-"), DEVICES, 3)


def device_named(name: str) -> Device:
    """The device that a recipe names; case, spaces and underscores do not matter. Raises DeviceError."""
    found = DEVICES.get(name.strip().lower().replace("_", "-").replace(" ", "-"))
    if found is None:
        raise DeviceError(name)
    return found


@dataclass(frozen=True, slots=True)
class Narrow:
    """A type below float16 that TensorRT computes in or unpacks, as recipes call it: since which version, from which
    compute capability on."""

    dtype: str
    since: Release
    least: Capability


# int4 is of weights alone (opset 21), float8 is E4M3 (opset 19).
NARROW = (
    Narrow("int8", _8_6, (6, 1)),
    Narrow("int4", Release(10, 0), (8, 0)),
    Narrow("float8", Release(10, 0), (8, 9)),
)
