"""`report`: the page about a build, or about several side by side, made from the files that `compile` left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdsl.api.writing import write_text
from qdsl.diag import QdslError, Report
from qdsl.harness.measurements import Measurements
from qdsl.report import Build, load, page

PAGE, COMPARISON = "report.html", "comparison.html"


@dataclass(frozen=True, slots=True)
class ReportResult:
    """`path` is the page; `builds` are the measurements that it shows, in the order of the directories."""

    path: Path
    builds: tuple[Measurements, ...]


def report(*directories: str | Path, out: str | Path | None = None) -> ReportResult:
    """Make one self-contained HTML file about the builds in `directories` (each a `build/<recipe>/`): of one build all
    that is known, of several a comparison. Nothing is measured: what the files do not say reads "not measured".

    Written to `out`, by default `report.html` in the one directory, or `comparison.html` in the working directory. The
    same files give the same bytes. Raises ValueError without a directory, QdslError with all that is wrong with any:
    measurements-missing, measurements-file, measurements-other, plan-file, image-*, artifact-write.
    """
    if not directories:
        raise ValueError("`report` takes at least one build directory")
    folders = [Path(directory) for directory in directories]
    builds: list[Build] = []
    errors = Report()
    for folder in folders:
        try:
            builds.append(load(folder))
        except QdslError as error:
            errors.extend(error.diagnostics)
    errors.raise_errors()
    path = Path(out) if out is not None else (folders[0] / PAGE if len(folders) == 1 else Path(COMPARISON))
    write_text(path, page(builds))
    return ReportResult(path, tuple(build.found for build in builds))
