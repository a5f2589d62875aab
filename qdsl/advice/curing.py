"""Cures of causes, tried: each line is added to the recipe, the artifact built anew in a folder of its own, run as its
file says, and held against the float model on the samples that found the cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qdsl.advice.trying import Bench, Trial, built, planned
from qdsl.causes.curing import told_of, worth_curing
from qdsl.causes.errors import Part, outputs_db
from qdsl.causes.outputs import parts_of
from qdsl.causes.records import Cause, Causes
from qdsl.diag import QdslError
from qdsl.findings.cures import Cure as Change
from qdsl.graph import save
from qdsl.lang.quoting import names
from qdsl.spec import Granularity
from qdsl.spec.plan import Plan
from qdsl.spec.scratch import scratch
from qdsl.targets import reference, target_of
from qdsl.targets.base import Runner
from qdsl.targets.results import Emitted, NotHere

Arrays = Mapping[str, Any]
_METHODS = ("percentile 99.99", "mse", "minmax")


@dataclass(frozen=True, slots=True)
class _Held:
    """What artifacts are held against: what the float model writes for each sample."""

    parts: Sequence[Part]
    samples: Sequence[Arrays]
    expected: Sequence[Mapping[str, NDArray[Any]]]

    def error(self, runner: Runner | NotHere) -> float | None:
        if isinstance(runner, NotHere):
            return None
        pairs = zip(self.expected, self.samples, strict=True)
        return outputs_db(self.parts, ((expected, runner.run(arrays)) for expected, arrays in pairs))


def recured(bench: Bench, plan: Plan, emitted: Emitted, found: Causes, samples: Sequence[Arrays]) -> Causes:
    """The causes of `emitted`, with cures that were tried by building anew in place of those tried in the file. As they
    are where an output cannot be held against the float model's, and where nothing of a cause can be tried."""
    parts = parts_of(bench.prepared.view)
    asked = worth_curing(found.causes)
    if not asked or not {part.output for part in parts} <= set(bench.prepared.view.outputs):
        return found
    with scratch() as folder:
        held = _Held(parts, samples, _floats(bench, folder, samples))
        base = held.error(target_of(plan.target).runner(emitted, 1, as_written=True))
        causes = list(found.causes)
        for done, cause in enumerate(asked, 1):
            tried = list(_tried(bench, plan, cause, held, folder / str(done)))
            if tried:
                causes[causes.index(cause)] = replace(cause, cure=told_of(base, tried))
            bench.heard("cures, built anew", done, len(asked))
    return replace(found, causes=tuple(causes))


def _floats(bench: Bench, folder: Path, samples: Sequence[Arrays]) -> list[Mapping[str, NDArray[Any]]]:
    path = folder / "float" / "model.onnx"
    path.parent.mkdir()
    save(bench.prepared.floats, path)
    runner = reference().float_runner(path, 1, as_written=True, span=bench.prepared.model.span)
    return [runner.run(arrays) for arrays in samples]


def _tried(
    bench: Bench, plan: Plan, cause: Cause, held: _Held, folder: Path
) -> Iterator[tuple[str, float | None, str]]:
    """(line, error of the outputs, how it was tried) of every change that plans and builds."""
    again = bench.recalibration()
    for number, line in enumerate(_lines(bench, plan, cause)):
        for trial in planned(bench, again, plan, Change(line)):
            try:
                emitted = built(bench, trial, folder / str(number))
                if emitted is None:
                    continue
                error = held.error(target_of(plan.target).runner(emitted, 1, as_written=True))
            except QdslError:
                continue
            yield line, error, f"built anew{_ranges(bench, trial)}"


def _ranges(bench: Bench, trial: Trial) -> str:
    """From how many samples its ranges are, where a compilation would look at more."""
    seen = trial.sampled.seen if trial.sampled is not None else {}
    less = [f"{count} samples of {name}" for name, count in seen.items() if count < len(bench.datasets[name])]
    return f", with ranges from {' and '.join(less)}" if less else ""


def _lines(bench: Bench, plan: Plan, cause: Cause) -> Iterator[str]:
    """What may help, what stays in integers first."""
    if cause.role == "activation":
        yield from _for_activation(plan, cause)
        return
    quoted = names([cause.node]) if cause.node else None
    if quoted is None:
        return
    weight = next((each for each in plan.weights if each.node == cause.node), None)
    if cause.role == "weight" and weight is not None:
        if weight.scheme.granularity is Granularity.PER_TENSOR:
            yield f"layers {quoted} {{ weights {weight.scheme.dtype.name} symmetric per_channel }}"
        yield f"layers {quoted} {{ weights float32 }}"
    else:
        yield f"keep {quoted} in float32"


def _for_activation(plan: Plan, cause: Cause) -> Iterator[str]:
    planned_for = {each.tensor: each for each in plan.tensors}
    members = [name for name in (cause.tensor, *cause.also) if name in planned_for]
    quoted = names(members) if members else None
    if quoted is None:
        return
    now = planned_for[members[0]].calibration
    every = (each.calibration.data for each in plan.tensors)
    data = now.data or next((each for each in every if each is not None), None)
    for method in _METHODS if data is not None else ():
        if method != now.words:
            yield f"layers tensor {quoted} {{ calibrate {method} on {data} }}"
    yield f"place {{ leave tensor {quoted} }}"
