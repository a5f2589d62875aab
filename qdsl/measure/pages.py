"""The page about builds, made from the files that `compile` left; nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.harness import devices, engines, st_reports
from qdsl.measure.devices import decided, take_in
from qdsl.measure.st_reports import overlapping
from qdsl.report import Build, load, page
from qdsl.work.writing import write_text

PAGE, COMPARISON = "report.html", "comparison.html"


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was written, the builds that it shows, with what devices measured of them, and warnings."""

    path: Path
    builds: tuple[Build, ...]
    warnings: tuple[Diagnostic, ...]


def write_page(
    folders: Sequence[Path], out: Path | None = None, add: Sequence[Path] = (), device: str | None = None
) -> Page:
    """Make the page about the builds in `folders` and write it to `out`, by default into the one folder, or beside the
    caller. `add` are files of devices, of an engine, whose GPU is called `device`, and of ST's tool, kept in the first
    folder from now on. Raises QdslError with all that is wrong with any file: measurements-*, engine-files, st-files,
    plan-file, image-*, artifact-write."""
    builds: list[Build] = []
    errors = Diagnostics()
    for folder in folders:
        try:
            builds.append(load(folder))
        except QdslError as error:
            errors.extend(error.diagnostics)
    errors.raise_errors()
    if add:
        take_in(folders[0], builds[0].found, add, device)
    warnings = Diagnostics()
    shown = tuple(_with_devices(folder, build, warnings) for folder, build in zip(folders, builds, strict=True))
    path = out if out is not None else (folders[0] / PAGE if len(folders) == 1 else Path(COMPARISON))
    write_text(path, page(shown))
    return Page(path, shown, tuple(warnings))


def _with_devices(folder: Path, build: Build, warnings: Diagnostics) -> Build:
    """The build with what devices measured of it, what is known of its engines, and what ST's tool said of it."""
    found, left_out = devices.kept(folder, build.found)
    built, unfit = engines.kept(folder, build.found)
    said, foreign = st_reports.kept(folder, build.found)
    warnings.extend((*left_out, *unfit, *foreign, *overlapping(said)))
    return replace(build, found=decided(build.found, found, built), devices=found, engines=built, st_reports=said)
