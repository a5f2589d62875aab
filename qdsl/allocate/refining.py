"""Assignments held against bounds that only running a build decides: the estimates order them, measurements choose.

Losses of layers add up in the estimate alone; what a build really loses shows when it runs. So a walk along the exact
frontier by halves finds the smallest file that holds every bound, or the assignment that loses least is measured;
then swaps of single layers, those first that the estimate thinks best of, mend what breaks or save bytes that need
not be spent. Every step ends within a number of measurements that is known before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from qdsl.search import Assignment, Frontier, Problem
from qdsl.search.whole import together

EVALUATIONS = 24  # where the recipe says nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a measured build says: whether every bound holds, how much of the tightest is left (negative: broken), and
    what it costs (the bytes of its file)."""

    holds: bool
    margin: float
    size: int


Judge = Callable[[Assignment], Verdict]


@dataclass
class Measured:
    """Measures assignments, each once, at most `most` of them."""

    problem: Problem
    judge: Judge
    most: int = EVALUATIONS
    known: dict[tuple[tuple[str, str], ...], tuple[Assignment, Verdict]] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.most - len(self.known)

    def look(self, found: Assignment) -> Verdict:
        """Its verdict. Raises RuntimeError where nothing is left to measure with."""
        if found.choices not in self.known:
            if self.left <= 0:
                raise RuntimeError("every measurement is spent")
            self.known[found.choices] = (found, self.judge(found))
        return self.known[found.choices][1]

    def nearest(self) -> tuple[Assignment, Verdict]:
        """What breaks its tightest bound least, of what was measured; of those that hold all, the smallest file."""
        return min(self.known.values(), key=lambda each: (not each[1].holds, *_rank(each[1])))

    def smallest(self, points: Frontier) -> Assignment | None:
        """The point of least size that holds, by halving the frontier as if larger files lost less, then single layers
        made smaller while that holds; None where none held."""
        low, high = 0, len(points) - 1
        while low < high and self.left > 1:
            middle = (low + high) // 2
            if self.look(points.assignment(middle)).holds:
                high = middle
            else:
                low = middle + 1
        if self.left and not any(verdict.holds for _, verdict in self.known.values()):
            self.look(points.assignment(len(points) - 1))
        best, verdict = self.nearest()
        return self._shrunk(best) if verdict.holds else None

    def _shrunk(self, best: Assignment) -> Assignment:
        while (step := self._next(smaller(self.problem, best))) is not None:
            if self.look(step).holds and self.look(step).size < self.look(best).size:
                best = step
        return best

    def mended(self, start: Assignment, fits: Callable[[Assignment], bool]) -> Assignment | None:
        """From `start` by swaps of two layers that `fits` allows, each kept that leaves more of the tightest bound,
        until every bound holds; None where none did."""
        best = start
        if self.look(best).holds:
            return best
        while (step := self._next(each for each in swapped(self.problem, best) if fits(each))) is not None:
            if self.look(step).margin > self.look(best).margin:
                best = step
            if self.look(best).holds:
                return best
        return None

    def _next(self, steps: Iterator[Assignment]) -> Assignment | None:
        """The first step that was not measured yet; None where there is none, or nothing is left to measure with."""
        return next((each for each in steps if each.choices not in self.known), None) if self.left > 0 else None


def _rank(verdict: Verdict) -> tuple[float, float]:
    return (verdict.size, -verdict.margin) if verdict.holds else (-verdict.margin, verdict.size)


def smaller(problem: Problem, of: Assignment) -> Iterator[Assignment]:
    """`of` with one unit (and those tied to it) cheaper, the least loss per byte first."""
    found = [each for each in _moved(problem, of) if each.costs[0] < of.costs[0]]
    return iter(sorted(found, key=lambda each: (each.loss - of.loss) / (of.costs[0] - each.costs[0])))


def swapped(problem: Problem, of: Assignment) -> Iterator[Assignment]:
    """`of` with one unit dearer and another cheaper, and such with one dearer alone; the least loss first, as losses
    add up. One after the other: of n layers there are n^2 pairs, of which a few are looked at."""
    single = sorted(_moved(problem, of), key=lambda each: (each.loss, each.costs))
    changed = {each: dict(set(each.choices) - set(of.choices)) for each in single}
    dearer = [each for each in single if each.costs[0] > of.costs[0]]
    cheaper = [of, *(each for each in single if each.costs[0] < of.costs[0])]
    cheaper.sort(key=lambda each: (each.loss, each.costs))
    changed[of] = {}

    def waiting(one: int, two: int) -> tuple[float, int, int]:
        return dearer[one].loss + (cheaper[two].loss - of.loss), one, two

    heap = [waiting(one, 0) for one in range(len(dearer))]
    heapify(heap)
    while heap:
        _, one, two = heappop(heap)
        if two + 1 < len(cheaper):
            heappush(heap, waiting(one, two + 1))
        first, second = changed[dearer[one]], changed[cheaper[two]]
        if first.keys().isdisjoint(second):
            yield problem.assignment({**dict(of.choices), **first, **second})


def _moved(problem: Problem, of: Assignment) -> Iterator[Assignment]:
    """Every assignment in which one unit, with those tied to it, takes another option."""
    chosen, pinned = dict(of.choices), {unit for unit, _ in problem.pins}
    options = {unit.name: {option.name for option in unit.options} for unit in problem.units}
    for group in together(problem):
        if pinned.isdisjoint(group):
            for name in sorted(set.intersection(*(options[unit] for unit in group)) - {chosen[group[0]]}):
                yield problem.assignment({**chosen, **dict.fromkeys(group, name)})
