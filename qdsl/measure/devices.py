"""What devices measured of a build, and engines that were built of it elsewhere, taken in beside it, and the budgets
that they decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qdsl.diag import Diagnostics, QdslError
from qdsl.harness import devices
from qdsl.harness.devices import Device
from qdsl.harness.engines import Engine
from qdsl.harness.measurements import COSTS, BudgetFacts, BuildFacts, Measurements
from qdsl.measure import engines, st_reports
from qdsl.measure.budgets import Name, Reading, cost_readings, decide, worst
from qdsl.work.writing import write_text


def take_in(directory: Path, build: Measurements, paths: Sequence[Path], device: str | None = None) -> None:
    """Keep the measurements of devices in `devices/` of the build's folder, an engine in `engines/`, whose GPU is
    called `device`, and what ST's tool said in `imported/`: all of them, or none. Raises QdslError with all that is
    wrong with any: measurements-missing, measurements-file, measurements-other, engine-files, st-files,
    artifact-write."""
    errors = Diagnostics()
    said, rest = st_reports.sorted_out(paths)
    brought, others = engines.sorted_out(rest)
    files = {}
    for path in others:
        try:
            name, text = devices.take_in(directory, build, path)
            files[name] = text
        except QdslError as error:
            errors.extend(error.diagnostics)
    if brought is not None:
        try:
            name, text = engines.taken_in(directory, build, brought, device)
            files[name] = text
        except QdslError as error:
            errors.extend(error.diagnostics)
    if said:
        try:
            name, text = st_reports.taken_in(directory, build, said)
            files[name] = text
        except QdslError as error:
            errors.extend(error.diagnostics)
    errors.raise_errors()
    for name, text in files.items():
        write_text(directory / name, text)


def decided(found: Measurements, measured: Sequence[Device], built: Sequence[Engine] = ()) -> Measurements:
    """The build with the budgets that a device decides decided by what devices measured: what breaks on one of them is
    broken. Where a recipe names no device and nothing was measured here, engines decide what they take."""
    return replace(found, builds=tuple(_decided(build, measured, built) for build in found.builds))


def _decided(build: BuildFacts, measured: Sequence[Device], built: Sequence[Engine]) -> BuildFacts:
    own = [device for device in measured if device.target == build.target]
    of_engines = [engine for engine in built if engine.target == build.target]
    readings = [cost_readings(device.profile, f"on {device.name}") for device in own if not device.emulated]
    taken = [found for engine in of_engines if (found := engines.latencies(engine, build.device))]
    readings, budgets = [*readings, *taken], build.budgets
    if build.device and (own or readings):
        budgets = tuple(_by_devices(budget, readings) if budget.metric in COSTS else budget for budget in budgets)
    elif taken:
        open_ = (each.metric in COSTS and each.verdict == "undecided" for each in budgets)
        pairs = zip(budgets, open_, strict=True)
        budgets = tuple(_by_devices(each, taken) if undecided else each for each, undecided in pairs)
    survival = engines.SURVIVAL
    budgets = tuple(
        engines.surviving(each, of_engines, build.device) if (each.metric, each.qualifiers) == survival else each
        for each in budgets
    )
    return replace(build, budgets=budgets)


def _by_devices(budget: BudgetFacts, readings: Sequence[Mapping[Name, Reading]]) -> BudgetFacts:
    """One budget on a cost, by what each real device measured: an emulated one has no speed of its own."""
    if readings:
        return worst([decide(budget, each) for each in readings])
    return replace(decide(budget, {}), source="measured under emulation only, which has no speed of its own")
