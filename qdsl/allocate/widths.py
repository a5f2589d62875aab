"""`allocate weights`: the types that lose least among those whose file keeps to a size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qdsl.allocate.fitting import Fitted, TooSmall, fitted
from qdsl.allocate.problem import Asked, by_tensor, problem_of
from qdsl.allocate.records import record, written
from qdsl.allocate.task import Task
from qdsl.allocate.weight_choices import choices, open_nodes, under, without_improving
from qdsl.allocate.weight_losses import losses
from qdsl.cascade.carried import limit_text
from qdsl.diag import Diagnostic, QdslError
from qdsl.lang.recipe import Allocate, Limit
from qdsl.lock import LockedOutcome
from qdsl.plan import Decisions
from qdsl.provenance.making import foreseen_bytes
from qdsl.provenance.records import MARK
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.search import Assignment, Grown, NoOptions, NotFinite, Refusal, Unsolved, frontier
from qdsl.spec.scratch import scratch
from qdsl.spec.widths import Allocation
from qdsl.spec.words import count
from qdsl.targets import target_of
from qdsl.work.assigned import Given
from qdsl.work.prepared import Prepared

# What the provenance in a file can be off by beside the marks of means: it is told only once the lock is.
ROOM = 128


def weights(task: Task) -> Given:
    """The types of weights for one target. Raises QdslError allocate-*, and what planning, emitting and running
    raise."""
    spec = _spec(task)
    bound = _bound(spec)
    nodes = open_nodes(task.decided.context)
    if not nodes:
        raise _error("allocate-nothing", "rules of the recipe decide all weights, so `allocate` has none", spec)
    found = choices(task.prepared, task.decided, nodes)
    asked = problem_of(
        task.prepared.recipe, task.decided.context, nodes, found, losses(task, by_tensor(found, nodes), found)
    )
    if not asked.problem.units:
        raise _error("allocate-nothing", "no choice of `allocate` can be given to any weight", spec)
    with scratch() as folder:
        build = _Building(task, asked, folder)
        answer = fitted(asked, bound, build.foreseen, build.emitted)
    if not isinstance(answer, Fitted):
        raise _refused(answer, spec)
    own, decided = build.decided(answer.assignment)
    given = asked.given(answer.assignment)
    words = _evidence(spec, asked, answer)
    written(task, _record(task, asked, answer))
    task.heard(words, 0, 0)
    return Given(own, decided, given, LockedOutcome(task.target, words))


@dataclass
class _Building:
    """Plans and files of assignments; the last plans are kept."""

    task: Task
    asked: Asked
    folder: Path
    _made: dict[tuple[tuple[str, str], ...], tuple[Prepared, Decisions]] = field(default_factory=dict)
    _count: int = 0

    def decided(self, found: Assignment) -> tuple[Prepared, Decisions]:
        if found.choices not in self._made:
            self._made[found.choices] = under(self.task.prepared, self.task.target, self.asked.given(found))
        return self._made[found.choices]

    def foreseen(self, found: Assignment) -> int:
        """Bytes of the file as the plan says."""
        bare = without_improving(self.task.prepared)
        return under(bare, self.task.target, self.asked.given(found))[1].plan.totals.predicted_bytes

    def emitted(self, found: Assignment) -> int:
        """Bytes of the file, which is written for it, with what its provenance may take. One in which `improve` finds
        nothing to do is told as such only where it is chosen."""
        try:
            own, decided = self.decided(found)
        except QdslError:
            own, decided = under(without_improving(self.task.prepared), self.task.target, self.asked.given(found))
        self._count += 1
        self.task.heard(f"file {self._count}", 0, 0)
        ranges, folder = cut_ranges(own, decided, self.task.measured), self.folder / str(self._count)
        folder.mkdir()
        made = target_of(self.task.target).emit(own.model, decided.plan, ranges, folder, inputs=own.recipe.inputs)
        marks = MARK * len(self.task.measured.means)
        return made.size + foreseen_bytes(own.recipe, decided.plan, decided.context.cpus) + marks + ROOM


def _spec(task: Task) -> Allocate:
    spec = task.spec
    if spec.minimize not in (None, "loss"):
        raise _error("allocate-bound", f"`allocate {spec.what}` does not minimize {spec.minimize}", spec)
    return spec


def _bound(spec: Allocate) -> int | None:
    """The bytes that the file may have; None without a bound."""
    found: list[int] = []
    for limit in spec.limits:
        require = limit.require
        sound = require.metric.name == "size" and require.form == "value" and require.comparison in ("<", "<=")
        if not sound or require.bound is None:
            raise _unfit(limit, spec)
        base = require.bound.base
        found.append(math.ceil(base) - 1 if require.comparison == "<" else math.floor(base))
    return min(found, default=None)


def _unfit(limit: Limit, spec: Allocate) -> QdslError:
    headline = f"`allocate {spec.what}` cannot keep to `{limit_text(limit)}`"
    cures = ("bound the file: `minimize loss under size <= 1.5 MB`",)
    return QdslError([Diagnostic("allocate-bound", headline, limit.require.span, help=cures)])


def _refused(answer: TooSmall | Refusal, spec: Allocate) -> QdslError:
    if isinstance(answer, TooSmall):
        limit = next(each for each in spec.limits if each.require.metric.name == "size")
        headline = (
            f"no choice of types keeps to `{limit_text(limit)}`: the smallest file has {answer.smallest.size:,} bytes"
        )
        cures = (f"bound it by that or more: `size <= {answer.smallest.size}`", "offer narrower types")
        return QdslError([Diagnostic("allocate-size", headline, limit.require.span, help=cures)])
    if isinstance(answer, NoOptions):
        return _error("allocate-nothing", f"no choice suits {_names(answer.units)}, by itself or with its pins", spec)
    if isinstance(answer, NotFinite):
        return _error("allocate-loss", f"{answer}", spec)
    assert isinstance(answer, Grown | Unsolved), "whatever cannot be reached is too small"
    raise RuntimeError(f"{answer}")


def _names(units: Sequence[str]) -> str:
    return ", ".join(f"`{unit[:80]}`" for unit in units[:3]) + (" and others" if len(units) > 3 else "")


def _error(code: str, headline: str, spec: Allocate) -> QdslError:
    return QdslError([Diagnostic(code, headline, spec.header, help=(_CURES[code],))])


_CURES = {
    "allocate-nothing": "take the `allocate` block out, or the rules",
    "allocate-bound": "write `minimize loss under size <= 1.5 MB`",
    "allocate-loss": "look at the samples: what the float model computes of them is not finite",
}


def _evidence(spec: Allocate, asked: Asked, found: Fitted) -> str:
    taken = Counter(choice for _, choice in found.assignment.choices)
    types = ", ".join(f"{words} {number}" for words, number in sorted(taken.items()))
    loss = f"loss {found.assignment.loss:.4g} in {count(len(asked.problem.units), 'weight')} ({types})"
    return f"{loss}, at most {found.size:,} bytes"


def _record(task: Task, asked: Asked, found: Fitted) -> Allocation:
    whole = frontier(asked.problem, "size")
    return record(task.target, asked.problem, found.assignment, found.offset, whole)
