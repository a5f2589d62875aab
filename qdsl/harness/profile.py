"""Measure what models cost: each in a process of its own, in turns, so that a machine that drifts moves all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qdsl.diag import Placed, Span
from qdsl.harness.environment import environment
from qdsl.harness.load import Watch
from qdsl.harness.profiles import BuildProfile, Profile
from qdsl.harness.worker import RefusedError, Worker, take_turns

RUNS, WARMUP = 200, 20

Heard = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Subject(Placed):
    """A model to measure: its name, its file, the session options that it asks for, the place in the recipe that names
    it, and the execution provider that runs it ("" for the CPU's) with its options."""

    build: str
    model: Path
    options: Mapping[str, str] = field(default_factory=dict)
    span: Span | None = None
    provider: str = ""
    providing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """How to measure: runs of each model in all, runs before, samples per run, threads (0: the runtime's choice)."""

    runs: int = RUNS
    warmup: int = WARMUP
    batch: int = 1
    threads: int = 0


def profile(
    target: str, subjects: Sequence[Subject], inputs: Path, wish: Wish, heard: Heard = lambda done, total: None
) -> Profile:
    """Every subject measured on the rows of `inputs` (an npz with one array per model input), in turns. `heard` is told
    of runs done. Raises QdslError (artifact-refused) for a model that the runtime does not run."""
    try:
        with ExitStack() as stack:
            workers = [stack.enter_context(_worker(subject, inputs, wish)) for subject in subjects]
            watch = Watch()
            take_turns(workers, wish.runs, heard)
            found = tuple(_found(worker) for worker in workers)
            others = watch.others(sum(build.cpu * sum(build.seconds) for build in found))
    except RefusedError as refused:
        headline = f"ONNX Runtime does not run the {refused.build} model to be profiled"
        subject = next(each for each in subjects if each.build == refused.build)
        raise subject.error("artifact-refused", headline, label=refused.reason) from None
    return Profile(target, wish.batch, wish.threads, wish.warmup, found, environment(), others=others)


def _worker(subject: Subject, inputs: Path, wish: Wish) -> Worker:
    more = subject.provider, dict(subject.providing)
    return Worker(subject.build, subject.model, inputs, dict(subject.options), asdict(wish), *more)


def _found(worker: Worker) -> BuildProfile:
    found = worker.found()
    return BuildProfile(
        build=worker.build,
        seconds=tuple(found["seconds"]),
        cpu=found["cpu"],
        peak_memory=found["peak_memory"],
        bare_memory=found["bare_memory"],
        energy=found["energy"],
        memory_runs=tuple(found["memory_runs"]),
    )
