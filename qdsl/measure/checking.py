"""Artifacts run as other processors, or here, on the samples of their bundles: what `--on` and `verify` do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from qdsl.diag import Diagnostic, Diagnostics, Severity
from qdsl.harness import emulators
from qdsl.harness.bundle import FOLDER
from qdsl.harness.check_on_cpu import check
from qdsl.harness.checks import Check
from qdsl.measure import bundling
from qdsl.measure.events import Event, Listener
from qdsl.measure.measuring import Made
from qdsl.spec.words import count
from qdsl.targets.results import FLOOR_DB, LOST_DB
from qdsl.work.prepared import Prepared


def on_processors(
    prepared: Prepared,
    made: Sequence[Made],
    on: Sequence[emulators.Cpu],
    tell: Listener,
    exact_on: Mapping[str, Sequence[str]],
) -> tuple[Check, ...]:
    """What artifacts that were just made compute as each of these processors. Their bundles may not be there to stay:
    where they are not, they are made for this alone, with `exact_on` by target, as `Content` has it. Those on whose
    samples the float model does not run are left out."""
    if not on:
        return ()
    passing = [each for each in made if not _bundle_of(each).is_dir()]
    try:
        for each in passing:
            bundling.bundle(prepared, each, (), exact_on[each.plan.target])
        folders = {each.plan.target: _bundle_of(each) for each in made}
        return checked({name: folder for name, folder in folders.items() if folder.is_dir()}, on, None, tell)
    finally:
        for each in passing:
            bundling.remove(each)


def _bundle_of(made: Made) -> Path:
    return made.emitted.directory / FOLDER


def faults(checks: Sequence[Check]) -> tuple[Diagnostic, ...]:
    """What is wrong with what artifacts compute."""
    diags = Diagnostics()
    for each in checks:
        where = f"{each.target} on {each.cpu or 'this machine'}" + (f", {each.label}" if each.emulated else "")
        for kernel, predicted, real in each.kernels:
            if predicted != real:
                headline = f"{where}: {count(predicted, 'node')} predicted to run as {kernel}, found {real}"
                diags.add(Diagnostic("kernels-otherwise", headline, severity=Severity.WARNING))
        for output in dict.fromkeys(one.output for one in each.compared):
            lowest, loss = each.lowest(output), each.loss(output)
            if each.sums_exact and loss == math.inf and not math.isnan(lowest):
                continue  # beside itself, which is all there is: rounding alone
            if not lowest >= FLOOR_DB and not loss <= LOST_DB:
                told = "of another shape" if math.isnan(lowest) else f"{lowest:.1f} dB"
                headline = f"{where}: output {output[:200]} is {told} beside the graph's own arithmetic"
                label = f"under {FLOOR_DB:g} dB, and more than {LOST_DB:g} dB of what was planned beside float is lost"
                diags.add(Diagnostic("computes-otherwise", headline, label=label, severity=Severity.WARNING))
    return tuple(diags)


def checked(
    folders: Mapping[str, Path], on: Sequence[emulators.Cpu], samples: int | None, tell: Listener
) -> tuple[Check, ...]:
    """Each artifact on each processor, or on this machine where `on` is empty; `folders` are the bundles by target.
    Raises QdslError as `check` does."""
    found = []
    for target, folder in folders.items():
        for cpu in on or (None,):
            where = f"{target} on {'this machine' if cpu is None else f'{cpu.name}, emulated'}"
            tell(Event("verify", where))
            found.append(check(folder, target, cpu, samples))
            tell(Event("verify", where, found=found[-1]))
    return tuple(found)
