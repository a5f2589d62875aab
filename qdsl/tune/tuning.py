"""What measurements choose among a target's alternatives: common scales by the ranges, the rest by `tune latency`.

Either way a choice goes to the lock with what showed it, and a fresh lock stands for both: nothing is timed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, Severity
from qdsl.lang.recipe import Tune
from qdsl.lock import LockedChoice
from qdsl.plan import Decisions
from qdsl.plan.gate import find_target
from qdsl.search import Trial, walk
from qdsl.spec.plan import Choice
from qdsl.spec.scratch import scratch
from qdsl.spec.words import plain
from qdsl.targets import target_of
from qdsl.targets.base import Bench
from qdsl.targets.results import NotHere
from qdsl.tune.alternatives import candidates, settled_by_ranges, without_losses
from qdsl.tune.choices import origin_of, trials_of
from qdsl.tune.timing import Broken, Heard, Step, Trying, threads_of, unbounded
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Tuned:
    """The plan after all choices, and those choices (those tried and left, too) as the lock keeps them; `elsewhere`
    says why nothing could be timed on this machine, None where it could or nothing was to be."""

    decisions: Decisions
    choices: tuple[LockedChoice, ...]
    elsewhere: NotHere | None = None

    def left_out(self, tune: Tune) -> Iterator[Diagnostic]:
        """A warning where nothing could be timed."""
        if self.elsewhere is not None:
            headline = f"`tune {tune.goal}` is left out for {self.decisions.plan.target}: {plain(self.elsewhere.why)}"
            yield Diagnostic("undecided", headline, tune.span, severity=Severity.WARNING)


def choose(
    prepared: Prepared,
    decided: Decisions,
    ranges: Ranges,
    datasets: Mapping[str, Dataset],
    heard: Heard,
    broken: Broken = unbounded,
) -> Tuned:
    """Choose for one target: first what the ranges decide, then by timing, without alternatives by which a bound on the
    build is `broken`. Raises QdslError `tune-data`, and what building and running raises."""
    decided, shares = by_ranges(prepared, decided, ranges)
    found = [_locked(decided, choice, taken=True) for choice in shares]
    trials = trials_of(prepared, decided.plan.target)
    ladders = candidates(decided) if trials else ()
    if not ladders:
        if trials:
            heard("no alternative has a place here, nothing to time", 0, 0)
        return Tuned(decided, tuple(line for lines in found for line in lines))
    with scratch() as folder:
        bench = _bench(prepared, decided, ranges, folder)
        if isinstance(bench, NotHere):
            return Tuned(decided, tuple(line for lines in found for line in lines), bench)
        trying = Trying(prepared, decided, ranges.low, datasets, bench, heard, broken)
        steps = [[Step(c.alternative.name, region) for region in c.regions] for c in ladders]
        made = walk(steps, trials, trying.attempt)
    timed = [(_choice(prepared, decided, trial), trial.attempt.taken) for trial in made]
    kept = tuple(choice for choice, taken in timed if taken)
    found += [_locked(decided, choice, taken=taken) for choice, taken in timed]
    heard(f"{len(made)} of at most {trials} alternatives timed, {len(kept)} taken", 0, 0)
    decided = decide_one(prepared, decided.plan.target, choices=(*shares, *kept)) if kept else decided
    return Tuned(decided, tuple(line for lines in found for line in lines))


def _bench(prepared: Prepared, decided: Decisions, ranges: Ranges, folder: Path) -> Bench | NotHere:
    tune, target = prepared.recipe.tune, decided.plan.target
    assert tune is not None
    threads = threads_of(tune, find_target(prepared.recipe, target))
    return target_of(target).bench(prepared.model, ranges, folder, threads)


def by_ranges(prepared: Prepared, decided: Decisions, ranges: Ranges) -> tuple[Decisions, tuple[Choice, ...]]:
    """The common scales that the ranges decide, and the decisions under them: none that costs an integer kernel."""
    shares = settled_by_ranges(decided, ranges.low, ranges.high)
    while shares:
        made = decide_one(prepared, decided.plan.target, choices=shares)
        kept = without_losses(decided, made, shares)
        if kept == shares:
            return made, shares
        shares = kept
    return decided, ()


def _choice(prepared: Prepared, decided: Decisions, trial: Trial[Step]) -> Choice:
    step = trial.region
    return Choice(step.alternative, step.nodes, trial.attempt.evidence, origin_of(prepared, decided, step.alternative))


def _locked(decided: Decisions, choice: Choice, *, taken: bool) -> list[LockedChoice]:
    target = decided.plan.target
    return [LockedChoice(target, choice.alternative, node, taken, choice.evidence) for node in choice.nodes]
