"""`report`: the page about a build, or about several side by side, made from the files that `compile` left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic
from qdsl.harness.devices import Device
from qdsl.harness.engines import Engine
from qdsl.harness.measurements import Measurements
from qdsl.harness.st_reports import StReport
from qdsl.measure.pages import write_page


@dataclass(frozen=True, slots=True)
class ReportResult:
    """`path` is the page; `builds` are the measurements that it shows, in the order of the directories, budgets decided
    by devices where the recipe says so; `devices` what was measured on devices, by build, `engines` what is known of
    engines that were built elsewhere, `st_reports` what ST Edge AI Core said of artifacts; `diagnostics` warnings;
    `holds` is False when a `require` is broken (an undecided one does not count as passed, but breaks nothing)."""

    path: Path
    builds: tuple[Measurements, ...]
    devices: tuple[tuple[Device, ...], ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    engines: tuple[tuple[Engine, ...], ...] = ()
    st_reports: tuple[tuple[StReport, ...], ...] = ()

    @property
    def holds(self) -> bool:
        return all(b.verdict != "broken" for found in self.builds for build in found.builds for b in build.budgets)


def report(
    *directories: str | Path,
    out: str | Path | None = None,
    add: Sequence[str | Path] = (),
    device: str | None = None,
) -> ReportResult:
    """Make one self-contained HTML file about the builds in `directories` (each a `build/<recipe>/`): of one build all
    that is known, of several a comparison. Nothing is measured: what the files do not say reads "not measured".

    `add` are files that `python bench.py` wrote on devices. They are checked, and kept as `devices/*.json` in the one
    directory, where every later report finds them; a broken budget raises nothing: see `ReportResult.holds`. Among
    them may be the files of one TensorRT engine of the build: its layers, its profile, its times, and `build.json`,
    which is found beside them; they are kept as `engines/*.json`. `device` is what to call its GPU, needed where there
    is no `build.json`. Reports of one run of ST Edge AI Core, or the folder that it wrote them to, are kept as
    `imported/*.json`; they decide nothing.

    Written to `out`, by default `report.html` in the one directory, or `comparison.html` in the working directory. The
    same files give the same bytes. Raises ValueError without a directory, for `add` with several, and for `add` that is
    no list; QdslError with all that is wrong with any file: measurements-missing, measurements-file,
    measurements-other, engine-files, st-files, plan-file, image-*, artifact-write.
    """
    if not directories:
        raise ValueError("`report` takes at least one build directory")
    if isinstance(add, (str, Path)):
        raise ValueError("`add` takes a list of files")
    if add and len(directories) > 1:
        raise ValueError("`add` takes one build directory")
    made = write_page(
        [Path(directory) for directory in directories],
        None if out is None else Path(out),
        [Path(path) for path in add],
        device,
    )
    return ReportResult(
        made.path,
        tuple(build.found for build in made.builds),
        tuple(build.devices for build in made.builds),
        made.warnings,
        tuple(build.engines for build in made.builds),
        tuple(build.st_reports for build in made.builds),
    )
