"""One build after the other, each held against the float model and timed against the best so far: what `tune` tries."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from qdsl.data import Dataset, Sample
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.chosen_rows import chosen_rows
from qdsl.lang.recipe import Require, Target, Tune
from qdsl.measure import comparing
from qdsl.plan import Decisions
from qdsl.plan.gate import find_target
from qdsl.search import Attempt, compare
from qdsl.spec.plan import Choice, Origin
from qdsl.spec.threads import processors
from qdsl.targets.agreement import Agreement
from qdsl.targets.base import Bench, Feed, Runner
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import Prepared

BLOCKS, SAMPLES = 21, 8
LARGEST_DROP = 0.5  # dB, where no `require` says what a choice may cost
# Told (text, blocks done, blocks in all); zeros where it speaks of the whole.
Heard = Callable[[str, int, int], None]
# Which bound of the recipe on a build as a whole a plan breaks, in words; "" for none.
Broken = Callable[[Decisions], str]
_TRIED = Origin("tried")


def unbounded(decided: Decisions) -> str:
    """Of a recipe without such bounds."""
    return ""


@dataclass(frozen=True, slots=True)
class Step:
    """A region of an alternative, to be tried."""

    alternative: str
    nodes: tuple[str, ...]


class Trying:
    """Tries steps for one target, on its `bench`, for which `known` are the tensors with a range; what is `broken` by a
    plan is left. Raises QdslError `tune-data`, and what reading data, building and running raise."""

    def __init__(
        self,
        prepared: Prepared,
        decided: Decisions,
        known: Collection[str],
        datasets: Mapping[str, Dataset],
        bench: Bench,
        heard: Heard,
        broken: Broken = unbounded,
    ) -> None:
        tune = prepared.recipe.tune
        assert tune is not None
        self._prepared, self._base, self._measured, self._tune = prepared, decided, known, tune
        self._bench, self._heard, self._broken = bench, heard, broken
        self._target = decided.plan.target
        self._feeds = _feeds(prepared, decided, datasets, tune)
        self._threads = threads_of(tune, find_target(prepared.recipe, self._target))
        floats = bench.load(None)
        self._reference = [floats.run(feed) for feed in self._feeds]
        self._best = bench.load(decided.plan)
        self._first = self._fidelity(self._best)

    def attempt(self, taken: Sequence[Step], step: Step) -> Attempt:
        """Try `step` on top of `taken`."""
        decided = self._decide((*taken, step))
        missing = [t.tensor for t in decided.plan.tensors if t.observe and t.tensor not in self._known(decided)]
        if missing:
            return Attempt(False, f"needs the range of {missing[0]}, which was not measured")
        if why := self._broken(decided):
            return Attempt(False, why)
        build = self._bench.load(decided.plan)
        why = broken(self._tune.requires, self._first, self._fidelity(build))
        return Attempt(False, why) if why else self._race(build, f"{step.alternative} at {step.nodes[0]}")

    def _race(self, build: Runner, text: str) -> Attempt:
        blocks = self._tune.blocks or BLOCKS

        def heard(done: int) -> None:
            self._heard(text, done, blocks)

        found = compare(*self._bench.race(self._best, build, self._feeds[0], blocks, heard))
        self._heard(f"{text}   {found}, {'taken' if found.helps else 'left'}", 0, 0)
        if found.helps:
            self._best = build
        threads = "1 thread" if self._threads == 1 else f"{self._threads} threads"
        return Attempt(found.helps, f"{found}, {threads}")

    def _decide(self, steps: Sequence[Step]) -> Decisions:
        more = tuple(Choice(step.alternative, step.nodes, "", _TRIED) for step in steps)
        return decide_one(self._prepared, self._target, choices=(*self._base.plan.choices, *more))

    def _known(self, decided: Decisions) -> set[str]:
        """Tensors whose range needs no measurement, or has one."""
        by_hand = {t.tensor for t in decided.plan.tensors if t.calibration.data is None}
        return by_hand | set(self._measured)

    def _fidelity(self, build: Runner) -> dict[str, float]:
        """By output, without those that cannot be compared row by row, unless a bound names them or there is no
        other."""
        found = fidelity(build, self._reference, self._feeds)
        named = {name for require in self._tune.requires for name in require.metric.qualifiers}
        out = chosen_rows(self._prepared.view).keys() - named
        return {name: value for name, value in found.items() if name not in out} or found


def fidelity(build: Runner, reference: Sequence[Feed], feeds: Sequence[Feed]) -> dict[str, float]:
    """Signal-to-noise ratio in dB of each output, over all feeds; -inf where it cannot be compared. `reference` holds
    the float model's outputs per feed, by name."""
    sums = {name: Agreement() for name in build.outputs}
    for feed, expected in zip(feeds, reference, strict=True):
        got = build.run(feed)
        for name, total in sums.items():
            total.add(expected[name], got[name])
    found = {name: total.sqnr_db for name, total in sums.items()}
    return {name: -math.inf if value is None else value for name, value in found.items()}


def threads_of(tune: Tune, block: Target | None) -> int:
    """With how many threads a build is timed: what `tune` says, then the target, then every core of this process."""
    wanted = tune.threads or (block.threads if block is not None else None)
    if wanted:
        return wanted
    return processors()


def broken(requires: Sequence[Require], before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """The first bound that an alternative breaks, in words, "" for none. Both map outputs to their signal-to-noise
    ratio in dB, without any alternative and with it."""
    if not requires:
        return _dropped(before, after, LARGEST_DROP, "<=")
    for require in requires:
        outputs = require.metric.qualifiers or tuple(after)
        bound = require.bound.value if require.bound is not None else 0.0
        known = {name: value for name, value in after.items() if name in outputs}
        if require.form == "drop":
            why = _dropped(before, known, bound, require.comparison or "<=")
        else:
            why = _below(known, bound, require.comparison or ">=")
        if why:
            return why
    return ""


def _dropped(before: Mapping[str, float], after: Mapping[str, float], bound: float, comparison: str) -> str:
    for name, value in after.items():
        drop = 0.0 if before[name] == value else before[name] - value
        if drop > bound or (comparison == "<" and drop == bound):
            return f"sqnr of {name} drops by {drop:.2f} dB"
    return ""


def _below(after: Mapping[str, float], bound: float, comparison: str) -> str:
    for name, value in after.items():
        if value < bound or (comparison == ">" and value == bound):
            return f"sqnr of {name} is {value:.2f} dB"
    return ""


def _feeds(
    prepared: Prepared, decided: Decisions, datasets: Mapping[str, Dataset], tune: Tune
) -> list[Mapping[str, Any]]:
    """The inputs that run: the first samples of the data of `tune`, else of what the artifact is compared on."""
    dataset = datasets.get(tune.data) if tune.data is not None else None
    samples: Iterable[Sample] = islice(dataset, SAMPLES) if dataset is not None else ()
    if dataset is None:
        samples, _ = comparing.samples(prepared, decided.plan, datasets, SAMPLES)
    feeds: list[Mapping[str, Any]] = [dict(sample.arrays) for sample in samples]
    if feeds:
        return feeds
    raise QdslError(
        [
            Diagnostic(
                "tune-data",
                "`tune` has no samples to run",
                tune.span,
                help=("name a dataset: `tune latency on DATA`",),
            )
        ]
    )
