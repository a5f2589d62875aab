"""Targets by name: each is a room of its own that keeps the contract of `qdsl.targets.base`, loaded when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from qdsl.diag import Diagnostic, QdslError, nearest

if TYPE_CHECKING:
    from qdsl.targets.base import Reference, Target


def _ort() -> Target:
    from qdsl.targets.ort.target import Ort

    return Ort()


def _tensorrt() -> Target:
    from qdsl.targets.tensorrt.target import Tensorrt

    return Tensorrt()


def _stm32() -> Target:
    from qdsl.targets.stm32.target import Stm32

    return Stm32()


# A new target is one line here, and what it names.
TARGETS: Mapping[str, Callable[[], Target]] = {"ort": _ort, "stm32": _stm32, "tensorrt": _tensorrt}


def target_of(name: str) -> Target:
    """The target called `name`. Raises QdslError (target-absent)."""
    if name in TARGETS:
        return TARGETS[name]()
    close = nearest(name, TARGETS) or tuple(sorted(TARGETS))
    known = ", ".join(f"`{word}`" for word in close)
    headline = f"there is no target `{name[:80]}`"
    raise QdslError([Diagnostic("target-absent", headline, help=(f"the targets are {known}",))])


def capability_of(device: str) -> tuple[int, int] | None:
    """The CUDA compute capability of a device that recipes name; None for one that is not known, or no GPU."""
    from qdsl.targets.tensorrt.devices import DeviceError, device_named

    try:
        return device_named(device).capability
    except DeviceError:
        return None


def reference() -> Reference:
    """What runs float models, whatever the target: ONNX Runtime, which calibrates them, too."""
    from qdsl.targets.ort.target import Ort

    return Ort()
