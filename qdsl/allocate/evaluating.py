"""One choice of types after the other: built as it would ship, run on the data of the bounds, timed in turns with the
float model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.allocate import whole
from qdsl.allocate.bounds import expected_of, judged, tell_shared
from qdsl.allocate.task import Task
from qdsl.cascade.assigned import with_assigned
from qdsl.cascade.carried import limit_text
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph import save
from qdsl.harness.evaluate import RESAMPLES
from qdsl.harness.results import Key
from qdsl.harness.tasks import Case, Expected, task_for
from qdsl.harness.tasks import Task as Scoring
from qdsl.lang.recipe import Limit
from qdsl.measure.budgets import Reading
from qdsl.metrics import paired_intervals
from qdsl.plan import Decisions
from qdsl.plan.gate import find_target
from qdsl.ranges.correcting import wanted
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.search import compare
from qdsl.spec.allocation import Held, Raced, Trial
from qdsl.spec.assigned import Assigned
from qdsl.spec.scratch import scratch
from qdsl.spec.threads import processors
from qdsl.targets import reference, target_of
from qdsl.targets.base import Bench, Runner
from qdsl.targets.results import Emitted, NotHere
from qdsl.tune.tuning import by_ranges
from qdsl.work.deciding import decide_one

BLOCKS = 7  # of a race that tells one choice from others
LAST_BLOCKS = 21  # of the race of what is taken
_TIMED = frozenset({"latency", "throughput"})


@dataclass(slots=True)
class _Floats:
    """What the float model says on the data of one evaluation: its answers, its figures (`own`: not by comparing it
    with itself), and where its outputs lie."""

    answers: list[Any]
    scores: Mapping[Key, float]
    own: bool
    folder: Path


@dataclass
class Evaluator:
    """Builds and measures choices for one task; to be used as a context. `times`: each is timed, too."""

    task: Task
    times: bool
    expected: Sequence[tuple[Expected, tuple[Limit, ...]]] = ()
    _held: ExitStack = field(default_factory=ExitStack)
    _known: dict[int, _Floats] = field(default_factory=dict)
    _bench: Bench | NotHere | None = None
    _racer: Runner | None = None
    _feed: Mapping[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Evaluator:
        """Raises QdslError as opening data for a task does: evaluate-*, python-*, data-*."""
        task = self.task
        self.expected = expected_of(task.prepared, task.datasets, task.allow_python)
        tell_shared(task, [each for each, _ in self.expected])
        self._folder = self._held.enter_context(scratch())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    @property
    def threads(self) -> int:
        """With how many threads choices are timed: as many as the target says, else every processor."""
        block = find_target(self.task.prepared.recipe, self.task.target)
        return (block.threads if block is not None else None) or processors()

    @property
    def bench(self) -> Bench | NotHere:
        """What times builds of this target here; NotHere, too, where a device elsewhere decides."""
        if self._bench is None:
            task = self.task
            block = find_target(task.prepared.recipe, task.target)
            if block is not None and block.device is not None:
                self._bench = NotHere(f"{block.device[:80]} decides, and this machine is not it")
            else:
                ranges = cut_ranges(task.prepared, task.decided, task.measured)
                self._bench = target_of(task.target).bench(task.prepared.model, ranges, self._folder, self.threads)
        return self._bench

    @property
    def feed(self) -> Mapping[str, Any]:
        """The inputs that builds are timed on: the first sample there is."""
        if not self._feed:
            chosen = [each.dataset for each, _ in self.expected] or list(self.task.datasets.values())
            self._feed = dict(next(iter(islice(chosen[0], 1))).arrays)
        return self._feed

    def measure(self, assigned: Sequence[Assigned]) -> Trial:
        """One choice, built and measured. Raises QdslError as running and reading samples do."""
        listed = by_choice(assigned)
        try:
            decided, emitted = self._built(assigned)
        except _CannotError as error:
            return Trial(listed, str(error)[:300])
        totals = decided.plan.totals
        share = totals.integer_macs / totals.macs if totals.macs else 0.0
        size = emitted.size + self.task.stamped(decided, assigned)
        held = [*self._on_data(emitted), *whole.held(self.task.prepared, decided, size)]
        raced = None
        if self.times and all(each.holds is not False for each in held):
            raced = self.race(emitted, BLOCKS)
            held += self._of_race(raced)
        return Trial(listed, "", tuple(held), share, totals.macs, size, raced)

    def gain(self, assigned: Sequence[Assigned]) -> Raced | None:
        """The choice timed, whatever its bounds are; None where it cannot be built, or timed here."""
        try:
            return self.race(self._built(assigned)[1], BLOCKS)
        except _CannotError:
            return None

    def again(self, assigned: Sequence[Assigned]) -> Raced | None:
        """The choice timed once more, for longer."""
        return self.race(self._built(assigned)[1], LAST_BLOCKS) if self.times else None

    def _built(self, assigned: Sequence[Assigned]) -> tuple[Decisions, Emitted]:
        task = self.task
        own = replace(task.prepared, recipe=with_assigned(task.prepared.recipe, assigned))
        try:
            decided = decide_one(own, task.target)
            ranges = cut_ranges(own, decided, task.measured)
            decided, _ = by_ranges(own, decided, ranges)
            self._require_ranges(decided)
            target, folder = target_of(task.target), self._folder / "build"
            return decided, target.emit(own.model, decided.plan, ranges, folder, inputs=own.recipe.inputs)
        except QdslError as error:
            raise _CannotError(error.diagnostics[0].headline) from None

    def _require_ranges(self, decided: Decisions) -> None:
        known = self.task.measured
        for tensor in decided.plan.tensors:
            if tensor.observe and tensor.calibration.measured and tensor.tensor not in known.low:
                raise _CannotError(f"it needs the range of {tensor.tensor}, which was not measured")
        lost = next((tensor for tensor in wanted(decided.plan) if tensor not in known.means), None)
        if lost is not None:
            raise _CannotError(f"it needs the means of {lost}, which were not measured")

    def _on_data(self, emitted: Emitted) -> Iterator[Held]:
        """The bounds on metrics of tasks."""
        if not self.expected:
            return
        block = find_target(self.task.prepared.recipe, self.task.target)
        runner = target_of(self.task.target).runner(emitted, block.threads if block is not None else None)
        for at, (expected, limits) in enumerate(self.expected):
            if isinstance(runner, NotHere):
                yield from (Held(limit_text(limit), math.nan, None, None, None) for limit in limits)
                continue
            floats = self._floats(at, expected)
            task = task_for(expected)
            answers = [task.answer(runner.run(case.sample.arrays), case) for case in self._cases(expected, floats)]
            scores = task.verdict(answers).scores
            for limit in limits:
                yield self._held_on(limit, task, floats, answers, scores)

    def _held_on(
        self, limit: Limit, task: Scoring, floats: _Floats, answers: Sequence[Any], scores: Mapping[Key, float]
    ) -> Held:
        metric, key = limit.require.metric, _key(limit)
        value, of_float = scores.get(key, math.nan), None
        if floats.own:
            of_float = floats.scores.get(key)
        found = judged(self.task.prepared.recipe, limit, Reading(value, of_float))
        low, high = _interval(task, key, floats.answers, answers)
        ends: tuple[float, ...] = ()
        if of_float is not None and low is not None and high is not None:
            ends = (of_float - high, of_float - low)
        elif metric.name == "agreement" and math.isfinite(value):
            low, high = ends = wilson(value, len(answers))
        margins = [judged(self.task.prepared.recipe, limit, Reading(end, of_float)).margin for end in ends]
        known = [margin for margin in margins if margin is not None and math.isfinite(margin)]
        spread = (max(known) - min(known)) / 2 if known else 0.0
        least = min(known) if known else None
        return Held(found.text, value, of_float, found.margin, found.holds, low, high, spread, least)

    def _floats(self, at: int, expected: Expected) -> _Floats:
        """The float model's answers, made once; its outputs are kept on disk, since builds may be compared with
        them."""
        if at not in self._known:
            folder = self._folder / f"float-{at}"
            folder.mkdir()
            task, runner = task_for(expected), self._float_runner()
            answers = []
            for sample in expected.dataset.prefetch(1):
                outputs = runner.run(sample.arrays)
                np.savez(folder / f"{sample.index}.npz", *(outputs[name] for name in expected.outputs))
                answers.append(task.answer(outputs, Case(sample, outputs)))
                self.task.heard("the float model's answers", sample.index + 1, len(expected.dataset))
            scores, own = task.verdict(answers).scores, expected.spec.task != "fidelity"
            if own:
                _require_told(expected, self.expected[at][1], scores)
            self._known[at] = _Floats(answers, scores, own, folder)
        return self._known[at]

    def _float_runner(self) -> Runner:
        path = self._folder / "float.onnx"
        if not path.exists():
            save(self.task.prepared.model, path)
        return reference().float_runner(path, span=self.task.prepared.model.span)

    def _cases(self, expected: Expected, floats: _Floats) -> Iterator[Case]:
        names = expected.outputs
        for sample in expected.dataset.prefetch(1):
            yield Case(sample, _stored(floats.folder / f"{sample.index}.npz", names))

    def race(self, emitted: Emitted, blocks: int) -> Raced | None:
        """A build timed in turns with the float model; None where that cannot be done here."""
        bench = self.bench
        runner = target_of(self.task.target).runner(emitted, self.threads)
        if isinstance(bench, NotHere) or isinstance(runner, NotHere):
            return None
        if self._racer is None:
            self._racer = bench.load(None)
        turns = bench.race(self._racer, runner, self.feed, blocks, lambda done: None)
        found = compare(*turns)
        return Raced(found.other_ms, found.base_ms, found.ratio, found.low, found.high)

    def _of_race(self, raced: Raced | None) -> Iterator[Held]:
        for limit in self.task.spec.limits:
            name = limit.require.metric.name
            if name not in _TIMED:
                continue
            if raced is None:
                yield Held(limit_text(limit), math.nan, None, None, None)
                continue
            ours, floats = raced.milliseconds / 1e3, raced.milliseconds * raced.ratio / 1e3
            values = (ours, floats) if name == "latency" else (1 / ours, 1 / floats)
            reading = Reading(*values)
            found = judged(self.task.prepared.recipe, limit, reading)
            yield Held(found.text, reading.value, reading.reference, found.margin, found.holds)


class _CannotError(Exception):
    """Why a choice cannot be built."""


def by_choice(assigned: Iterable[Assigned]) -> dict[str, tuple[str, ...]]:
    """Nodes by the type that they are given."""
    found: dict[str, list[str]] = {}
    for each in assigned:
        found.setdefault(each.choice, []).append(each.node)
    return {choice: tuple(sorted(nodes)) for choice, nodes in sorted(found.items())}


def _stored(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[f"arr_{at}"] for at, name in enumerate(names)}


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` samples (Wilson, 1927): of none all that a share can be."""
    if count < 1:
        return 0.0, 1.0
    square = 1.96**2 / count
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(max(0.0, share * (1 - share)) * square + square**2 / 4) / (1 + square)
    return middle - half, middle + half


def _key(limit: Limit) -> Key:
    return Key(limit.require.metric.name, *limit.require.metric.qualifiers)


def _require_told(expected: Expected, limits: Sequence[Limit], scores: Mapping[Key, float]) -> None:
    """Raise QdslError evaluate-class for a bound on a class of which nothing is known: in data that names none, classes
    are called by their numbers."""
    for limit in limits:
        key = _key(limit)
        if key.of and key not in scores:
            headline = f"nothing of {expected.data.name} is of class `{key.of[:80]}`"
            known = list(dict.fromkeys(each.of for each in scores if each.of))[:4]
            help = (f"its classes are called {', '.join(f'`{name[:60]}`' for name in known)}",) if known else ()
            raise QdslError([Diagnostic("evaluate-class", headline, limit.require.span, help=help)])


def _interval(
    task: Scoring, key: Key, floats: Sequence[Any], answers: Sequence[Any]
) -> tuple[float | None, float | None]:
    """The ends of the 95 % interval of how much less a build scores than the float model; `task` has read answers."""
    one, two = task.statistic(floats, [key]), task.statistic(answers, [key])
    if one is None or two is None:
        return None, None
    (found,) = paired_intervals(lambda drawn: (one(drawn), two(drawn)), len(answers), RESAMPLES)
    return found.low, found.high
