"""`verify`: whether an artifact computes what its graph says, on this machine and on other processors, emulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.harness import emulators, reading
from qdsl.harness.bundle import FOLDER
from qdsl.harness.checks import Check
from qdsl.harness.measurements import FILE, BuildFacts
from qdsl.lang import load
from qdsl.measure.checking import checked, faults
from qdsl.measure.events import Event, Listener, silent
from qdsl.spec.words import plain

DEFAULT_OUT = "build"


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """`checks` by target, then by processor in the order in which they were asked for; `diagnostics` what they found:
    `holds` is False where there is any. `compiled_on` are the instruction sets of the machine that compiled."""

    recipe: str
    directory: Path
    checks: tuple[Check, ...]
    compiled_on: str
    diagnostics: tuple[Diagnostic, ...]

    @property
    def holds(self) -> bool:
        return not self.diagnostics


def verify(
    build: str | Path,
    *,
    on: Sequence[str] = (),
    out: str | Path = DEFAULT_OUT,
    sets: Mapping[str, str] | None = None,
    samples: int | None = None,
    listener: Listener | None = None,
) -> VerifyResult:
    """Run the artifacts of a build on the samples of their bundles: as they run by default, with the session options of
    the manifest, against the same file without the runtime's optimizations, and against the graph's own arithmetic as
    it was found when compiling; and count the integer kernels against the prediction.

    `build` is a build's folder, or a recipe whose build is in `<out>/<recipe>/`. Without `on` it happens on this
    machine, else on each of these processors (`haswell`, `cortex-a76`, `cortex-a72`, `cortex-a53`) by qemu: the real
    runtime, instruction by instruction, never for speed. `samples` how many of the bundle's (None: all, emulated 4);
    `listener` hears what runs, and each check as it ends. Raises QdslError: cpu-unknown, emulator-absent,
    emulator-failed, verify-nothing, measurements-*, artifact-refused, and what is wrong with a recipe; ValueError for
    less than one sample.
    """
    if samples is not None and samples < 1:
        raise ValueError(f"`samples` is {samples!r}: expected None or a whole number from 1")
    processors = emulators.cpus(on)
    emulators.require(processors)
    directory = _directory(Path(build), Path(out), sets or {})
    found = reading.read(directory / FILE)
    reading.require_same(directory, found)
    tell, elsewhere = listener or silent, {f.target: why for f in found.builds if (why := _left_out(f))}
    folders = {f.target: directory / f.target / FOLDER for f in found.builds if f.target not in elsewhere}
    _require_bundles(folders, elsewhere)
    for target, why in elsewhere.items():
        tell(Event("verify", f"{target} is left out: {why}"))
    checks = checked(folders, processors, samples, tell)
    return VerifyResult(
        recipe=found.recipe,
        directory=directory,
        checks=checks,
        compiled_on=found.environment.get("instructions", ""),
        diagnostics=faults(checks),
    )


def _directory(build: Path, out: Path, sets: Mapping[str, str]) -> Path:
    """The folder of the build that is meant. A recipe is read for its name alone."""
    if build.is_dir() or build.suffix != ".q":
        return build
    recipe = load(build, sets=sets).recipe
    directory = out / recipe.name
    if not (directory / FILE).is_file():
        headline = f"there is no build of recipe {recipe.name} in `{directory}`"
        help = (f"make it first: qdsl compile {build}",)
        raise QdslError([Diagnostic("measurements-missing", headline, help=help)])
    return directory


def _left_out(facts: BuildFacts) -> str:
    """Why an artifact is not run here, "" where it is."""
    if facts.arena is not None:
        return "its C is held against its integers when it is compiled, and no bundle runs C"
    return plain(facts.not_verified)


def _require_bundles(folders: Mapping[str, Path], elsewhere: Mapping[str, str]) -> None:
    absent = [folder for folder in folders.values() if not (folder / "bundle.json").is_file()]
    if absent or not folders:
        headline = f"there is nothing to run the artifact on: no `{(absent or [Path(FOLDER)])[0]}`"
        notes = tuple(f"{target} does not run here: {why}" for target, why in elsewhere.items())
        cures = () if absent or not elsewhere else ("check while compiling: `qdsl compile RECIPE`",)
        raise QdslError([Diagnostic("verify-nothing", headline, help=cures, notes=notes)])
