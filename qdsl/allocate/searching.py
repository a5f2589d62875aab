"""The search: choices from estimates, the cheapest that is measured to hold, and then one change after the other as
long as it holds and evaluations are left. Whoever measures is told nothing of layers, so that a test can stand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from qdsl.allocate.hull import Chosen, Estimates, hull
from qdsl.allocate.smoothing import Falling, falling
from qdsl.allocate.weighing import parts_of, weighed

FEWEST_PARTS = 4  # that tell anything
NEARLY = 1.02  # times the least cost: costs as little, as far as times tell
MENDS = 5  # of one choice: with so many of its groups in float, doubled each time
NEAR = 1.0  # outside the bounds by as much as they are wide
TELLS = 4.0  # times its 95 % interval that a margin is: then the margins of parts of the net differ by more than chance
Measure = Callable[[Chosen], "Shown | None"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A choice that was measured: whether it holds, how far inside the bounds it is, what it costs (in the unit of the
    estimates where it was timed, None where it was not), and by how much the margin may be chance: half its 95 %
    interval. `slower`: than the float model, as timed."""

    chosen: Chosen
    holds: bool
    margin: float
    cost: float | None = None
    spread: float = 0.0
    slower: bool = False

    @property
    def sure(self) -> bool:
        """Whether other samples would say the same."""
        return abs(self.margin) >= self.spread


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
        if first is None or first.holds or -first.margin < TELLS * first.spread:
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
        """Of what holds the cheapest; of those that cost nearly as little one not slower than float, where there
        is one, and of these the one furthest inside the bounds. Where all that holds may do so by chance alone, the one
        of which most is expected."""
        fit, held = self._fit(), [each for each in self.shown.values() if each.holds]
        good = [each for each in held if self._good(each, fit)]
        if not good:
            return max(held, key=lambda each: (self._expected(each, fit), -self._cost(each)), default=None)
        least = min(map(self._cost, good))
        near = [each for each in good if self._cost(each) <= least * NEARLY]
        near = [each for each in near if not each.slower] or near
        return min(near, key=lambda each: (-self._expected(each, fit), self._cost(each), sorted(each.chosen)))

    def _fit(self) -> Falling:
        return falling((self.estimates.loss(each.chosen), each.margin) for each in self.shown.values())

    def _expected(self, each: Shown, fit: Falling) -> float:
        """The margin as measured, where that is sure, else what all that was measured lets expect."""
        return each.margin if self.reverse or each.sure else fit.at(self.estimates.loss(each.chosen))

    def _good(self, each: Shown, fit: Falling | None = None) -> bool:
        """Whether it holds, and not by chance."""
        return each.holds and self._expected(each, self._fit() if fit is None else fit) >= 0.0

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
        """A metric does not fall evenly: cheaper choices whose neighbours are not far outside the bounds may hold. The
        cheapest of these first, for so many evaluations."""
        if self.scan and not all(each.sure for each in self.shown.values()):
            return self._around(path)
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

    def _around(self, path: Sequence[Chosen]) -> Chosen | None:
        """Where chance decides whether a choice holds, many near the bounds are measured, so that the mean of all says
        where they are crossed: those first that are nearest to where it seems to be by then."""
        losses = [self.estimates.loss(each) for each in path]
        for _ in range(self.scan):
            fit = self._fit()
            crossing = next((at for at, loss in enumerate(losses) if fit.at(loss) >= 0.0), len(path) - 1)
            left = [at for at, each in enumerate(path) if each not in self.shown]
            at = min(left, key=lambda each: (abs(each - crossing), -each), default=None)
            if at is None or self._try(path[at]) is None:
                break
        fit = self._fit()
        return next((each for each in path if each in self.shown and self._good(self.shown[each], fit)), None)

    def _most_precise(self) -> Chosen | None:
        """Where nothing on the hull holds: the most precise labels of all that may be."""
        every = frozenset(range(len(self.estimates.costs.labels)))
        free = every - {at for at, label in self.estimates.fixed.items() if not label}
        shown = self._try(free)
        return free if shown is not None and self._good(shown) else None

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
            mended = changed if self._good(shown) else self._mend(changed, shown, self.estimates.cost(current))
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
            if tried is None or self._good(tried):
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
