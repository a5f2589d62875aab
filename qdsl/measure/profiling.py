"""`profile` statements carried out: the float model and each artifact, timed in turns on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from qdsl.data import Sample
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.graph import save
from qdsl.harness import FLOAT, worker
from qdsl.harness.profile import Subject, Wish, profile
from qdsl.harness.profiles import HERE, Profile
from qdsl.harness.tasks import Expected
from qdsl.lang.recipe import Target
from qdsl.measure import comparing
from qdsl.measure.asking import Asked
from qdsl.measure.budgets import Name, Reading, cost_readings
from qdsl.measure.slower import slower
from qdsl.spec.plan import Plan
from qdsl.spec.scratch import scratch
from qdsl.spec.words import plain
from qdsl.targets import target_of
from qdsl.targets.base import Deployed
from qdsl.targets.results import Emitted, NotHere
from qdsl.work.prepared import Prepared

NO_PLANS: Mapping[str, Plan] = {}
_OF_PROVIDERS = ("latency", "throughput")
Heard = Callable[[str, int, int], None]


def profiles(
    prepared: Prepared,
    expected: Sequence[Expected],
    built: Mapping[str, Emitted],
    asked: Mapping[str, Asked],
    heard: Heard,
    diags: Diagnostics,
    known: Callable[[Profile], None] = lambda found: None,
    plans: Mapping[str, Plan] = NO_PLANS,
) -> tuple[Profile, ...]:
    """A profile for each target in `built` that is in `asked`, and each way in which it is timed here, told to `known`
    as soon as it is there. Inputs are the first samples of what is evaluated, else what else there is (see
    `comparing.any_samples`); `diags` says what is left out. `plans` are those of the builds, by target, where they are
    known."""
    found = []
    for target, (wish, span) in asked.items():
        for way in target_of(target).deployed(built[target]) if target in built else ():
            try:
                each = _profiled(prepared, expected, target, way, wish, heard)
            except LeftOutError as left:
                severity = Severity.WARNING
                diags.add(Diagnostic("profile-left-out", left.headline, span, help=left.help, severity=severity))
                continue
            found.append(each)
            known(each)
            elsewhere = any(block.name == target and block.device is not None for block in prepared.recipe.targets)
            there = elsewhere or each.measured_on != HERE
            diags.extend(() if there else slower(each, span, plans.get(target), prepared.view))
    return tuple(found)


class LeftOutError(Exception):
    """Why an artifact is not profiled in one way, and the cure."""

    def __init__(self, headline: str, *help: str) -> None:
        super().__init__(headline)
        self.headline, self.help = headline, help


def _profiled(
    prepared: Prepared, expected: Sequence[Expected], target: str, way: Deployed | NotHere, wish: Wish, heard: Heard
) -> Profile:
    """Raises LeftOutError; and QdslError where the CPU, which every model has to run on, does not run one."""
    if isinstance(way, NotHere):
        raise LeftOutError(f"{target} is not profiled here: {plain(way.why)}")
    try:
        return _timed(prepared, expected, target, way, wish, heard)
    except QdslError as error:
        if not way.provider:
            raise
        why = "; ".join(plain(one.label or one.headline) for one in error.diagnostics)
        raise LeftOutError(f"{target} is not profiled here, by {way.on}: {why}") from None


def _timed(
    prepared: Prepared, expected: Sequence[Expected], target: str, deployed: Deployed, wish: Wish, heard: Heard
) -> Profile:
    with scratch() as folder:
        count = max(worker.SAMPLES, wish.batch)
        given: Iterable[Sample] = expected[0].dataset if expected else comparing.any_samples(prepared, count)[0]
        rows = [dict(sample.arrays) for sample in islice(given, count)]
        if not rows:
            headline = f"{target} is not profiled: there is no data, and the shape of an input is free"
            raise LeftOutError(headline, "write `shape [..]` in the `input` block")
        inputs = folder / "inputs.npz"
        worker.store_feeds(inputs, rows, wish.batch)
        model = folder / "float.onnx"
        save(prepared.model, model)
        span = prepared.model.span
        by, own, floats = deployed.provider, deployed.providing, deployed.floats
        subjects = [
            Subject(FLOAT, model, span=span, provider=by, providing=floats),
            Subject(target, deployed.model, deployed.options, span, by, own),
        ]
        runs = f"runs for {target}" + (f" by {deployed.on}" if by else "")
        found = profile(target, subjects, inputs, wish, lambda done, total: heard(runs, done, total))
        return replace(found, measured_on=deployed.on, decides=deployed.decides) if by else found


def readings(found: Sequence[Profile], target: Target) -> dict[Name, Reading]:
    """What profiles decide for one target: nothing where another device than this one does, and where this one is
    emulated. Where only figures are there that decide nothing, budgets say so."""
    measured: dict[Name, Reading] = {}
    open_: dict[Name, Reading] = {}
    for each in found:
        if each.target != target.name or target.device is not None or each.environment.get("emulator"):
            continue
        if each.measured_on == HERE:
            measured |= cost_readings(each, "here")
            continue
        # Memory and energy are those of the process and of the processors: not the provider's.
        told = cost_readings(each, f"here by {each.measured_on}")
        told = {name: reading for name, reading in told.items() if name[0] in _OF_PROVIDERS}
        if each.decides:
            measured |= told
        else:
            why = f"timed by {each.measured_on} alone, whose figures are no engine's"
            open_ |= dict.fromkeys(told, Reading(math.nan, source=why))
    return open_ | measured
