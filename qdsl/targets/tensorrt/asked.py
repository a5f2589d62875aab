"""What a recipe asks of TensorRT: which version, for which device; and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.lang.recipe import Target
from qdsl.targets.tensorrt.devices import DEVICES, Device, DeviceError, device_named
from qdsl.targets.tensorrt.versions import NEWEST, Release, VersionError, parse_version
from qdsl.targets.words_of_c import words_of_c

_OF_CPUS = {
    "threads": "a GPU runs the engine",
    "cpu": "no kind of CPU takes part in what an engine computes",
    "exact": "its kernels add in int32, which no product saturates",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What files are made for. `said`: whether the recipe names the version itself; else it is the device's usual one,
    or the newest."""

    release: Release
    device: Device | None
    said: bool


def asked(block: Target) -> Asked:
    """Version and device of a `target tensorrt` block. Raises QdslError with all that is wrong with them."""
    problems = [found for found in problems_of(block) if found.severity is Severity.ERROR]
    if problems:
        raise QdslError(problems)
    device = device_named(block.device) if block.device is not None else None
    if block.version is not None:
        return Asked(parse_version(block.version), device, True)
    return Asked(_release(None, device), device, False)


def problems_of(block: Target) -> Iterator[Diagnostic]:
    """What is wrong with version and device, and what TensorRT does not have, each at its line. A version that no
    JetPack of the device brings, though one newer and one older are brought, is a warning."""
    yield from _foreign(block)
    yield from words_of_c(block, "TensorRT")
    release = device = None
    try:
        release = parse_version(block.version) if block.version is not None else None
    except VersionError as error:
        yield Diagnostic("tensorrt-version", str(error), block.place("version"), help=error.help)
    try:
        device = device_named(block.device) if block.device is not None else None
    except DeviceError as error:
        names = error.near or tuple(DEVICES)
        yield Diagnostic(
            "tensorrt-device",
            str(error),
            block.place("device"),
            help=(f"{'the nearest are' if error.near else 'known are'} {', '.join(f'`{name}`' for name in names)}",),
        )
    if block.high_precision is not None and not _release(release, device).strong:
        yield _weak(block, _release(release, device))
    if device is not None and (release is not None or block.version is None):
        yield from _together(block, _release(release, device), device)


def release_of(version: str | None, device: str | None) -> Release:
    """The version that files are made for, of the words of a recipe. Raises VersionError, DeviceError."""
    if version is not None:
        return parse_version(version)
    return _release(None, device_named(device) if device is not None else None)


def _release(release: Release | None, device: Device | None) -> Release:
    return release or (device.usual if device is not None else NEWEST)


def _weak(block: Target, release: Release) -> Diagnostic:
    return Diagnostic(
        "target-cannot",
        f"TensorRT {release} has no `high_precision`: its builder chooses the type of each layer",
        block.place("high_precision"),
        "a network whose own types hold, and float16 scales, exist from 10.0 on",
        ("take it out: where the builder is allowed `--fp16`, it takes float16 for what runs faster in it",),
    )


def _foreign(block: Target) -> Iterator[Diagnostic]:
    """Settings of a target block that speak of CPUs."""
    for word, place in block.places:
        if word in _OF_CPUS:
            headline = f"`{word}` says nothing to TensorRT"
            cure = f"take `{word}` out, or write it in a target that runs on a CPU"
            yield Diagnostic("target-cannot", headline, place, _OF_CPUS[word], (cure,))


def _together(block: Target, release: Release, device: Device) -> Iterator[Diagnostic]:
    if not device.runs(release):
        gets = " and ".join(f"{first} to {last}" if first < last else str(first) for first, last in device.gets)
        yield Diagnostic(
            "tensorrt-device-version",
            f"there is no TensorRT {release} for {device.title}",
            block.place("version"),
            label=f"it gets {gets}",
            help=_usual(device, release),
        )
    elif device.jetson and not device.jetpacks_with(release):
        brought = ", ".join(f"{name} brings {brings}" for name, brings in device.jetpacks)
        said = block.version is not None
        yield Diagnostic(
            "tensorrt-device-version",
            f"no JetPack for {device.title} is known to bring TensorRT {release}"
            f"{'' if said else ', the oldest that files are made for'}",
            block.place("version" if said else "device"),
            label=f"JetPack {brought}",
            help=(*_usual(device, release), f"install TensorRT {release} on the device by hand"),
            severity=Severity.WARNING,
        )


def _usual(device: Device, release: Release) -> tuple[str, ...]:
    return (f'write version "{device.usual}"{_jetpacks(device, device.usual)}',) if release != device.usual else ()


def _jetpacks(device: Device, release: Release) -> str:
    names = device.jetpacks_with(release)
    return f", which JetPack {' and '.join(names)} bring{'s' if len(names) == 1 else ''}" if names else ""
