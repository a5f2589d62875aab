"""What an emitted directory is built for: the plain facts that its commands and its README are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdsl.spec.engine import QuantManifest
from qdsl.targets.tensorrt.devices import Device
from qdsl.targets.tensorrt.golden import Golden
from qdsl.targets.tensorrt.versions import Release, cache_version

Shape = tuple[int, ...]

# The last version whose builder has DLA on a Jetson (TensorRT support matrix: of later 10.x, JetPack stays at 10.7).
LAST_WITH_DLA = Release(10, 7)

# Types of stored integers and narrow floats, as the manifest names them, and the flag that a weak build needs for each.
_FLAGS = {"int8": "int8", "int4": "int4", "float8e4m3fn": "fp8", "float4e2m1": "fp4"}
_MOST_WORKSPACE = 4096  # MiB


class UnbuildableError(ValueError):
    """What no TensorRT of the version builds."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the emitted model. `shape` has None where a dimension is open; `shapes` are then the smallest, the
    usual and the largest one that an engine is built for."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    shapes: tuple[Shape, Shape, Shape] | None = None

    @property
    def open(self) -> bool:
        return None in self.shape

    def __post_init__(self) -> None:
        if "\0" in self.name:
            raise UnbuildableError("the name of an input holds a zero byte, which no command line does")
        if self.open and self.shapes is None:
            raise UnbuildableError(f"input `{self.name}` leaves dimensions open and no range is given for them")


@dataclass(frozen=True, slots=True)
class Building:
    """One emitted directory. `manifest` is its quant_manifest.json, `golden` what was written of samples, `cache` the
    folder of a float file with a calibration cache ("": there is none), where that is asked for; it lacks `uncached`
    tensors, whose names no cache holds."""

    manifest: QuantManifest
    release: Release
    device: Device | None
    inputs: tuple[Input, ...]
    golden: Golden = field(default_factory=Golden)
    cache: str = ""
    uncached: int = 0

    def __post_init__(self) -> None:
        if self.strong and not self.release.strong:
            raise UnbuildableError(f"TensorRT {self.release} has no strongly typed networks")
        if not self.strong and "fp8" in self.flags and "int8" in self.flags:
            raise UnbuildableError(
                "int8 beside fp8 needs a strongly typed network: a weak build refuses the pair of flags"
            )
        missing = [] if self.strong else [flag for flag in self.flags if flag not in self.release.precision_flags]
        if missing:
            raise UnbuildableError(f"TensorRT {self.release} does not build {' and '.join(missing)}")

    @property
    def strong(self) -> bool:
        """Whether the network is strongly typed: as the manifest says, and always where nothing else is left."""
        return self.manifest.typing == "strong" or not self.release.weak

    @property
    def flags(self) -> tuple[str, ...]:
        """Narrow types that a weak build has to be allowed: those stored in the file, and float16 for the rest."""
        stored = {pair.type for node in self.manifest.nodes for pair in node.pairs}
        return (*sorted(_FLAGS[kind] for kind in stored & _FLAGS.keys()), "fp16") if stored else ("int8", "fp16")

    @property
    def workspace(self) -> int:
        """Memory that one layer may take, in MiB: a quarter of a small board's, which the CPU shares."""
        return min(_MOST_WORKSPACE, self.device.memory * 256) if self.device is not None else _MOST_WORKSPACE

    @property
    def cache_version(self) -> int:
        """The number in the calibration cache's first line: of the recipe's version, with its patch if it has one."""
        return cache_version(self.manifest.version or str(self.release))

    @property
    def dla(self) -> bool:
        """Whether the float file with its cache is for a deep learning accelerator."""
        return bool(self.cache) and self.device is not None and self.device.dla > 0 and self.release <= LAST_WITH_DLA

    @property
    def open(self) -> tuple[Input, ...]:
        """Inputs with open dimensions."""
        return tuple(each for each in self.inputs if each.open)

    @property
    def shapes(self) -> Mapping[str, tuple[Shape, Shape, Shape]]:
        """By input with open dimensions: the smallest, the usual and the largest shape."""
        return {each.name: each.shapes for each in self.open if each.shapes is not None}
