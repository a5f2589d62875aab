"""The search: choices from estimates, the cheapest that is measured to hold, and then one change after the other as
long as it holds and evaluations are left. Whoever measures is told nothing of layers, so that a test can stand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from qdsl.allocate.hull import Chosen, Estimates, hull
from qdsl.allocate.weighing import parts_of, weighed

FEWEST_PARTS = 4  # that tell anything
NEARLY = 1.02  # times the least cost: costs as little, as far as times tell
MENDS = 5  # of one choice: with so many of its groups in float, doubled each time
NEAR = 1.0  # outside the bounds by as much as they are wide
Measure = Callable[[Chosen], "Shown | None"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A choice that was measured: whether it holds, how far inside the bounds it is, and what it costs: in the unit of
    the estimates where it was timed, None where it was not."""

    chosen: Chosen
    holds: bool
    margin: float
    cost: float | None = None


@dataclass
class Search:
    """One search. `measure` answers None once no evaluation is left; `multiplying` are the groups that changes are made
    of (the others follow them)."""

    estimates: Estimates
    multiplying: Sequence[int]
    measure: Measure
    parts: int = 0  # of the net, each measured in float, to weigh losses by the metric
    scan: int = 0  # evaluations that look for cheaper choices on the hull, beside what bisection found
    reverse: bool = False  # the least loss is wanted, within bounds on what it costs
    shown: dict[Chosen, Shown] = field(default_factory=dict)
    spent: bool = False
    weight: float = 0.0  # of losses against costs where the search stands: what does not multiply follows by it

    def run(self) -> Shown | None:
        """The best choice that holds; None where none of those tried does."""
        self._weigh()
        path = hull(self.estimates)
        path = path[::-1] if self.reverse else path
        start = self._first_that_holds(path)
        start = self._scan(path, start)
        if start is None:
            start = self._most_precise()
        self.weight = self._slope(path, start)
        if start is not None and not self.reverse:
            self._improve(start)
        return self.best()

    def _weigh(self) -> None:
        """Losses weighed by what the bounds' margin gains with one part of the net in float."""
        base = self.estimates.best(0.0)
        first = None if self.reverse or self.parts < FEWEST_PARTS else self._try(base)
        if first is None or first.holds:
            return
        parts = parts_of(self.estimates, self.parts, self.multiplying)
        tried = [self._try(base | part) for part in parts]
        if all(each is not None and isfinite(each.margin) for each in (first, *tried)):
            gains = [each.margin - first.margin for each in tried if each is not None]
            self.estimates = weighed(self.estimates, base, parts, gains)

    def _slope(self, path: Sequence[Chosen], start: Chosen | None) -> float:
        """What the hull pays around a place for what it gains."""
        at = path.index(start) if start is not None and start in path else len(path) - 1
        pairs = [(path[one], path[one + 1]) for one in (at - 1, at) if 0 <= one < len(path) - 1]
        for cheap, precise in pairs:
            gained = self.estimates.loss(cheap) - self.estimates.loss(precise)
            paid = self.estimates.cost(precise) - self.estimates.cost(cheap)
            if gained > 0 and paid > 0:
                return paid / gained
        return 0.0

    def best(self) -> Shown | None:
        """Of what holds the cheapest; of those that cost nearly as little the one furthest inside the bounds."""
        held = [each for each in self.shown.values() if each.holds]
        least = min(map(self._cost, held), default=0.0)
        near = [each for each in held if self._cost(each) <= least * NEARLY]
        return min(near, key=lambda each: (-each.margin, self._cost(each), sorted(each.chosen)), default=None)

    def nearest(self) -> Shown | None:
        """What is least outside the bounds."""
        return max(self.shown.values(), key=lambda each: (each.margin, -self._cost(each)), default=None)

    def _cost(self, each: Shown) -> float:
        if self.reverse:
            return self.estimates.loss(each.chosen)
        return self.estimates.cost(each.chosen) if each.cost is None else each.cost

    def _try(self, chosen: Chosen) -> Shown | None:
        """What a choice was measured to do, now or before; None where no evaluation is left."""
        if chosen not in self.shown:
            found = None if self.spent else self.measure(chosen)
            if found is None:
                self.spent = True
                return None
            self.shown[chosen] = found
        return self.shown[chosen]

    def _first_that_holds(self, path: Sequence[Chosen]) -> Chosen | None:
        """By bisection: what loses less is taken to hold where more does."""
        first = self._try(path[0])
        if first is None or first.holds:
            return None if first is None else path[0]
        low, high = 0, len(path)  # what is at `low` does not hold, what is at `high` does, or is past the end
        while high - low > 1:
            middle = (low + high) // 2
            shown = self._try(path[middle])
            if shown is None:
                break
            low, high = (low, middle) if shown.holds else (middle, high)
        return path[high] if high < len(path) else None

    def _scan(self, path: Sequence[Chosen], start: Chosen | None) -> Chosen | None:
        """A metric on few samples does not fall evenly: cheaper choices whose neighbours are not far outside the bounds
        may hold. The cheapest of these first, for so many evaluations."""
        found = len(path) if start is None else path.index(start)
        for _ in range(self.scan):
            margins = {at: self.shown[each].margin for at, each in enumerate(path) if each in self.shown}
            near = (at for at in range(found) if at not in margins and _between(margins, at) >= -NEAR)
            at = next(near, None)
            shown = None if at is None else self._try(path[at])
            if at is None or shown is None:
                break
            found = at if shown.holds else found
        return start if found == len(path) else path[found]

    def _most_precise(self) -> Chosen | None:
        """Where nothing on the hull holds: the most precise labels of all that may be."""
        every = frozenset(range(len(self.estimates.costs.labels)))
        free = every - {at for at, label in self.estimates.fixed.items() if not label}
        shown = self._try(free)
        return free if shown is not None and shown.holds else None

    def _improve(self, start: Chosen) -> None:
        """Put groups into integers again, many at once while that holds, else fewer; what breaks a bound alone
        stays."""
        current, barred, size = start, frozenset[int](), None
        while not self.spent:
            moves = [move for move in self._moves(current) if move not in barred]
            if not moves:
                return
            size = max(1, len(moves) // 2) if size is None else min(size, len(moves))
            changed = self._without(current, moves[:size])
            shown = self._try(changed)
            if shown is None:
                return
            mended = changed if shown.holds else self._mend(changed, shown, self.estimates.cost(current))
            if mended is not None and self.estimates.cost(mended) <= self.estimates.cost(current):
                current, barred = mended, barred if mended == changed else frozenset()
            elif size == 1:
                barred |= {moves[0]}
                size = 2
            else:
                size = max(1, size // 2)

    def _mend(self, chosen: Chosen, shown: Shown, most: float) -> Chosen | None:
        """A choice that is just outside the bounds with those groups in float that lose most for what they cost, one
        more, two more, four: the first that holds and costs less than `most`; None for none."""
        if shown.margin < -NEAR:
            return None
        worth = self._worth(chosen)
        for count in (1 << power for power in range(min(MENDS, len(worth).bit_length()))):
            labels = {at: at in chosen or at in worth[:count] for at in self.multiplying}
            made = self.estimates.best(self.weight, labels)
            if self.estimates.cost(made) >= most:
                return None
            tried = self._try(made)
            if tried is None or tried.holds:
                return None if tried is None else made
        return None

    def _worth(self, chosen: Chosen) -> list[int]:
        """Groups in integers by how much less they lose in float, for what they cost there."""
        found = []
        for group in self.multiplying:
            if group not in chosen and self.estimates.fixed.get(group, True):
                labels = {at: at in chosen or at == group for at in self.multiplying}
                made = self.estimates.best(self.weight, labels)
                paid = self.estimates.cost(made) - self.estimates.cost(chosen)
                gained = self.estimates.loss(chosen) - self.estimates.loss(made)
                if gained > 0:
                    found.append((-gained / max(paid, 1e-12), group))
        return [group for _, group in sorted(found)]

    def _moves(self, current: Chosen) -> list[int]:
        """Groups in float that would cost less in integers, by how much less for what they lose."""
        found = []
        for group in self.multiplying:
            if group in current and not self.estimates.fixed.get(group, False):
                changed = self._without(current, [group])
                gain = self.estimates.cost(current) - self.estimates.cost(changed)
                harm = self.estimates.loss(changed) - self.estimates.loss(current)
                if gain > 0 and changed != current:
                    found.append((-gain / max(harm, 1e-12), group))
        return [group for _, group in sorted(found)]

    def _without(self, current: Chosen, groups: Sequence[int]) -> Chosen:
        """`current` with `groups` in integers, and what does not multiply as it costs least with them."""
        taken = set(groups)
        labels = {at: at in current and at not in taken for at in self.multiplying}
        return self.estimates.best(self.weight, labels)


def _between(margins: Mapping[int, float], at: int) -> float:
    """The margin at a place, on the line between the nearest places on both sides where it is known."""
    before = max((each for each in margins if each < at), default=None)
    after = min((each for each in margins if each > at), default=None)
    if before is None or after is None:
        return margins[before if before is not None else after] if margins else 0.0  # type: ignore[index]
    share = (at - before) / (after - before)
    return margins[before] * (1 - share) + margins[after] * share
