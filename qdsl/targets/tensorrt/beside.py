"""Writes what stands beside an emitted model: scripts, commands, golden outputs, a calibration cache, a README."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from qdsl.calibrate.cache_file import render_cache
from qdsl.spec.engine import QuantManifest
from qdsl.targets.tensorrt import scripts
from qdsl.targets.tensorrt.building import LAST_WITH_DLA, Building, Input, UnbuildableError
from qdsl.targets.tensorrt.commands import commands
from qdsl.targets.tensorrt.devices import Device
from qdsl.targets.tensorrt.golden import FILES, GoldenSample, write_golden
from qdsl.targets.tensorrt.readme import readme
from qdsl.targets.tensorrt.versions import Release

SCRIPTS = ("build_engine.py", "profile_engine.py", "verify_engine.py")
DLA, IMPLICIT = "dla", "implicit"
# What stands beside some models alone: of versions with calibration caches, and where samples could be had.
SOMETIMES = (DLA, IMPLICIT, *FILES)
COMMANDS, README, CACHE = "commands.sh", "README.md", "calib.cache"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The float model with one scale per tensor (largest absolute value / 127). `save` writes the model at a path, with
    its external data beside it where it has any; `left_out` tensors have names that no line of a cache holds."""

    save: Callable[[Path], object]
    scales: Mapping[str, float]
    left_out: int = 0


def beside(
    folder: Path,
    manifest: QuantManifest,
    release: Release,
    device: Device | None,
    inputs: Sequence[Input],
    *,
    samples: Iterable[GoldenSample] = (),
    calibrated: Calibrated | None = None,
) -> tuple[Path, ...]:
    """Write all that stands beside `model.onnx` and `quant_manifest.json` in `folder`; returns what was written.

    `manifest` is what quant_manifest.json holds, `inputs` are those of the emitted model, with a range of shapes where
    dimensions are open. `samples` are inputs with the outputs of the emitted graph: golden files are made of the first
    few, none of none (called again with some, it replaces what stands there). With `calibrated` a folder `dla/` or
    `implicit/` holds the float model and a calibration cache, but for 11.x, which takes none. Raises UnbuildableError
    for what no build of this version takes, OSError where `folder` cannot be written.
    """
    golden = write_golden(folder, samples)
    building = Building(manifest, release, device, tuple(inputs), golden)
    written = list(golden.files)
    if calibrated is not None and release.calibration_caches:
        building = replace(building, cache=_folder(building), uncached=calibrated.left_out)
        written += _write_calibrated(folder / building.cache, calibrated, building.cache_version)
    for name in SCRIPTS:
        written.append(_write(folder / name, files(scripts).joinpath(name).read_text(encoding="utf-8")))
    written.append(_write(folder / COMMANDS, commands(building)))
    written.append(_write(folder / README, readme(building)))
    (folder / COMMANDS).chmod(0o755)
    return tuple(written)


def _folder(building: Building) -> str:
    device = building.device
    return DLA if device is not None and device.dla and building.release <= LAST_WITH_DLA else IMPLICIT


def _write_calibrated(folder: Path, calibrated: Calibrated, version: int) -> list[Path]:
    """Raises UnbuildableError for a scale that is none."""
    wrong = [name for name, scale in calibrated.scales.items() if not (math.isfinite(scale) and scale > 0)]
    if wrong:
        raise UnbuildableError(f"the scale of `{wrong[0]}` is not above 0")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    text = render_cache(str(version), calibrated.scales)
    calibrated.save(folder / "model.onnx")
    return [*sorted(path for path in folder.iterdir()), _write(folder / CACHE, text)]


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
