"""`profile` statements carried out: the float model and each artifact, timed in turns on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from qdsl.api import comparing
from qdsl.api.budgets import Name, Reading
from qdsl.api.prepare import Prepared
from qdsl.data import Sample
from qdsl.diag import Diagnostic, QdslError, Report, Severity, Span
from qdsl.graph import save
from qdsl.harness import FLOAT, bench
from qdsl.harness.profile import Subject, Wish, profile
from qdsl.harness.profiles import Profile
from qdsl.harness.tasks import Expected
from qdsl.lang.recipe import Profile as Statement
from qdsl.lang.recipe import Recipe, Target
from qdsl.targets import target_module
from qdsl.targets.results import Emitted

METRICS = ("latency", "throughput", "cpu", "memory", "energy")
_FORMS = ("mean", "p50", "p90", "p95", "p99", "max")

Heard = Callable[[str, int, int], None]


def wanted(recipe: Recipe, target: Target) -> tuple[Wish, Span] | None:
    """How `target` is to be profiled, and the line that says so; None where nothing asks for it. A `profile` in the
    target block stands before one in `evaluate`; a budget on what only profiling measures asks for it, too."""
    statements = [target.profile, *(spec.profile for spec in recipe.evaluates)]
    found: Statement | None = next((each for each in statements if each is not None), None)
    bounded = (*target.requires, *(r for spec in recipe.evaluates for r in spec.requires))
    asking = [r.span for r in bounded if r.metric.name in METRICS]
    if found is None and not asking:
        return None
    settings = {name: int(value) for name, value in (found.settings if found is not None else ())}
    wish = Wish(**({"threads": target.threads or 0} | settings))
    return wish, found.span if found is not None else asking[0]


def require_batch(prepared: Prepared, target: Target) -> None:
    """Raises QdslError profile-batch where the model is fixed to another batch than the recipe asks to profile."""
    asked = wanted(prepared.recipe, target)
    if asked is None:
        return
    wish, span = asked
    for name, takes in comparing.takes(prepared).items():
        first = takes.shape[0] if takes.shape else None
        if isinstance(first, int) and first != wish.batch:
            headline = f"input {name} takes a batch of {first}, and `profile` asks for {wish.batch}"
            help = (f"write `batch {first}`, or export the model with a free first dimension",)
            raise QdslError([Diagnostic("profile-batch", headline, span, help=help)])


def profiles(
    prepared: Prepared, expected: Sequence[Expected], built: Mapping[str, Emitted], heard: Heard, report: Report
) -> tuple[Profile, ...]:
    """A profile for each target in `built` that asks for one. Inputs are the first samples of what is evaluated, else
    what else there is (see `comparing.any_samples`); where there is nothing, `report` says so."""
    found = []
    for target in prepared.recipe.targets:
        asked = wanted(prepared.recipe, target)
        if asked is None or target.name not in built:
            continue
        each = _profiled(prepared, expected, target.name, built[target.name], asked[0], heard)
        if each is None:
            headline = f"{target.name} is not profiled: there is no data, and the shape of an input is free"
            help = ("write `shape [..]` in the `input` block",)
            report.add(Diagnostic("profile-left-out", headline, asked[1], help=help, severity=Severity.WARNING))
        else:
            found.append(each)
    return tuple(found)


def _profiled(
    prepared: Prepared, expected: Sequence[Expected], target: str, emitted: Emitted, wish: Wish, heard: Heard
) -> Profile | None:
    with TemporaryDirectory(prefix="qdsl-") as folder:
        count = max(bench.SAMPLES, wish.batch)
        given: Iterable[Sample] = expected[0].dataset if expected else comparing.any_samples(prepared, count)[0]
        rows = [dict(sample.arrays) for sample in islice(given, count)]
        if not rows:
            return None
        inputs = Path(folder) / "inputs.npz"
        bench.store_feeds(inputs, rows, wish.batch)
        model = Path(folder) / "float.onnx"
        save(prepared.model, model)
        options = target_module(target).session_options(emitted)
        subjects = [Subject(FLOAT, model), Subject(target, emitted.model, options)]
        return profile(target, subjects, inputs, wish, lambda done, total: heard(f"runs for {target}", done, total))


def readings(found: Sequence[Profile], target: Target) -> dict[Name, Reading]:
    """What a profile decides for one target: nothing where another device than this one does."""
    measured: dict[Name, Reading] = {}
    for each in found:
        if each.target != target.name or target.device is not None:
            continue
        ours, floats = each.of(target.name), each.of(FLOAT)
        source = f"measured here, {each.runs} runs"
        for form in _FORMS:
            measured["latency", (form,)] = Reading(ours.latency(form), floats.latency(form), source=source)
        measured["latency", ()] = measured["latency", ("p50",)]
        speed = each.throughput(target.name), each.throughput(FLOAT)
        measured["throughput", ()] = Reading(*speed, source=source)
        measured["cpu", ()] = Reading(ours.cpu, floats.cpu, source=source)
        if ours.peak_memory is not None and floats.peak_memory is not None:
            measured["memory", ()] = Reading(ours.peak_memory, floats.peak_memory, source=source)
        if ours.energy is not None and floats.energy is not None:
            measured["energy", ()] = Reading(ours.energy, floats.energy, source=source)
    return measured
