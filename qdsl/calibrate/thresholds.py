"""From a distribution of values to the range that is worth representing.

Each search returns (low, high) inside the range of the values and holding 0 wherever they do. Deterministic: candidates
stand on a fixed grid of the range, ties go to the wider one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdsl.calibrate.histogram import Bins, Distribution, Floats
from qdsl.calibrate.request import Request

# Bins of equal width over the range: finer ones would follow the noise of small samples. A search ends at one bin a
# level; where most of those are empty it starts again over the range that it found.
ENTROPY_BINS = 2048
_CANDIDATES = 256
_ZOOMS, _EMPTY = 12, 0.75
_MSE_COARSE, _MSE_FINE = 512, 8
_ROUNDS = 2
_TINY = 1e-300
Range = tuple[float, float]
Places = NDArray[np.int64]


def find(request: Request, values: Distribution) -> Range:
    """The range that `request` (entropy, percentile or mse) asks for of `values`, which are not empty."""
    low, high = values.low, values.high
    if low == high:
        return low, high
    if request.method == "percentile":
        return percentile(values, request.percentile or 100.0, request.symmetric)
    search = entropy if request.method == "entropy" else mse
    if request.symmetric:
        amax = search(values.magnitudes(), request.levels // 2, True)[1]
        return max(low, -amax), min(high, amax)
    return search(values, request.levels, False)


def percentile(values: Distribution, share: float, symmetric: bool) -> Range:
    """The range that holds `share` percent of the values: of the absolute values when symmetric, else with half of the
    rest cut off at either end. Within a bin values count as evenly spread."""
    low, high = values.low, values.high
    if symmetric:
        amax = max(0.0, *_quantiles(values.magnitudes(), [share / 100]))
        return max(low, -amax), min(high, amax)
    tail = (100 - share) / 200
    found = _quantiles(values, [tail, 1 - tail])
    return min(max(low, found[0]), high), max(min(high, found[1]), low)


def _quantiles(values: Distribution, shares: list[float]) -> list[float]:
    """Values at ranks 0 (the smallest) to 1 (the largest), with ranks spread over total - 1 steps as numpy does."""
    edges = np.unique(np.concatenate([np.r_[p.left, p.right] for p in values.parts]))
    # a bin of no width is a step
    edges = np.unique(np.r_[np.nextafter(edges, -np.inf), edges, np.nextafter(edges, np.inf)])
    return [float(v) for v in np.interp(np.array(shares) * values.total, values.below(edges), edges)]


def entropy(values: Distribution, levels: int, one_sided: bool) -> Range:
    """The range whose `levels`-level histogram loses least information against the values clipped to it: the smallest
    Kullback-Leibler divergence, over ENTROPY_BINS bins and about 256 candidates for each end (S. Migacz, 8-bit
    Inference with TensorRT, GTC 2017). Zeros do not count: every scale holds them. More than ENTROPY_BINS / 8 levels
    count as that many.
    """
    kept = values.without_zeros()
    low, high = (0.0 if one_sided else values.low), values.high
    levels = min(levels, ENTROPY_BINS // 8)
    for _ in range(_ZOOMS if kept.parts else 0):
        search = _Entropy(kept, low, high, levels)
        first, last = search.both(-low / (high - low) * ENTROPY_BINS)
        edges, empty = np.linspace(low, high, ENTROPY_BINS + 1), search.empty(first, last)
        low, high = float(edges[first]) + 0.0, float(edges[last]) + 0.0
        if empty < _EMPTY or last - first == ENTROPY_BINS:
            break
    return low, high


class _Entropy:
    """Divergences of all candidates at once: sums over groups of bins are differences of running sums."""

    def __init__(self, values: Distribution, low: float, high: float, levels: int) -> None:
        below = values.below(np.linspace(low, high, ENTROPY_BINS + 1))
        self._levels = levels
        self._bins = ENTROPY_BINS
        self._histogram = histogram = np.diff(below)
        self._under = float(below[0])
        self._total = float(values.total)
        self._mass = np.r_[0.0, np.cumsum(histogram)]
        self._used = np.r_[0, np.cumsum(histogram > 0)]
        # A range ends at a bin in use, which takes what lies outside: edge -> the nearest such edge inwards.
        places, used = np.arange(self._bins + 1), histogram > 0
        self._last_used = np.maximum.accumulate(np.where(np.r_[False, used], places, 0))
        self._first_used = np.minimum.accumulate(np.where(np.r_[used, False], places, self._bins)[::-1])[::-1]
        logs = np.zeros_like(histogram)
        np.log(histogram, out=logs, where=histogram > 0)
        self._own = np.r_[0.0, np.cumsum(histogram * logs)]

    def both(self, zero: float) -> tuple[int, int]:
        """The best first and last edge around bin `zero`, found one after the other, twice."""
        first, last = 0, self._bins
        for _ in range(_ROUNDS):
            last = self.last(first, min(self._bins, max(0, int(np.ceil(zero)))))
            if zero > 0:
                first = self.first(last, min(self._bins, int(np.floor(zero))))
        return first, last

    def empty(self, first: int, last: int) -> float:
        """The share of bins that are not in use."""
        return 1 - float(self._used[last] - self._used[first]) / (last - first)

    def last(self, first: int, least: int) -> int:
        """The best upper end for a range that begins at bin `first` and must reach bin `least`."""
        smallest = max(first + self._levels, least)
        if smallest >= self._bins:
            return self._bins
        found = np.linspace(smallest, self._bins, _CANDIDATES).astype(np.int64)
        found = np.unique(np.maximum(self._last_used[found], first + 1))
        return int(found[_best(self._divergence(np.full(found.shape, first), found), widest_last=True)])

    def first(self, last: int, most: int) -> int:
        """The best lower end for a range that ends at bin `last` and must begin at `most` or before."""
        largest = min(last - self._levels, most)
        if largest <= 0:
            return 0
        found = np.linspace(0, largest, _CANDIDATES).astype(np.int64)
        found = np.unique(np.minimum(self._first_used[found], last - 1))
        return int(found[_best(self._divergence(found, np.full(found.shape, last)), widest_last=False)])

    def _divergence(self, first: Places, last: Places) -> Floats:
        """KL(P || Q) of each range: P holds what lies outside in its end bins, Q spreads the mass of each level over
        the bins in use. A range that leaves mass beyond an empty end is infinitely bad."""
        steps = np.arange(self._levels + 1) / self._levels
        edges = first[:, None] + np.rint((last - first)[:, None] * steps).astype(np.int64)
        mass = np.diff(self._mass[edges], axis=1)
        used = np.maximum(np.diff(self._used[edges], axis=1), 1)
        spread = np.log(np.maximum(mass, _TINY) / used)
        total, inside = self._total, self._mass[last] - self._mass[first]
        under = self._under + self._mass[first]
        over = np.maximum(total - self._under - self._mass[last], 0.0)
        empty = np.where(mass[:, [0, -1]] > 0, spread[:, [0, -1]], np.nan)
        ends = [(first, under, empty[:, 0]), (last - 1, over, empty[:, 1])]
        own = self._own[last] - self._own[first]
        against = np.where(mass > 0, mass * spread, 0.0).sum(axis=1)
        for at, outside, level in ends:
            bin_mass = self._histogram[at]
            level = np.where(np.isfinite(level), level, np.log(np.maximum(bin_mass, _TINY)))  # an end of no width
            own = own + _entropy_of(bin_mass + outside) - _entropy_of(bin_mass)
            lost = (outside > 1e-9 * total) & (bin_mass <= 0)
            against = np.where(lost, -np.inf, against + np.where(outside > 0, outside * level, 0.0))
        # sum P/N log((P/N) / (Q/M)) with N all and M what lies inside
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((own - against) / total + np.log(np.maximum(inside, 0) / total))


def _entropy_of(mass: Floats) -> Floats:
    return np.where(mass > 0, mass * np.log(np.maximum(mass, _TINY)), 0.0)


def _best(costs: Floats, widest_last: bool) -> int:
    """The place of the smallest cost; of equal ones the widest range."""
    costs = np.where(np.isnan(costs) | (costs == -np.inf), np.inf, costs)
    return len(costs) - 1 - int(np.argmin(costs[::-1])) if widest_last else int(np.argmin(costs))


def mse(values: Distribution, levels: int, one_sided: bool) -> Range:
    """The range with the smallest mean squared error of quantization to `levels` levels: a coarse search over each end
    with the textbook error of rounding, step**2 / 12, then a fine one around it that integrates rounding exactly over
    every bin."""
    search = _Mse(values.flat(), levels, one_sided)
    low, high = (0.0 if one_sided else min(values.low, 0.0)), max(values.high, 0.0)
    ends = [low, high]
    shrinking = np.arange(1, _MSE_COARSE + 1) / _MSE_COARSE
    for _ in range(_ROUNDS):
        for side in (1, 0):
            if (low, high)[side] != 0.0:
                ends[side] = search.coarse(ends, side, (low, high)[side] * shrinking)
    for side in (1, 0):
        whole = (low, high)[side]
        if whole != 0.0:
            near = ends[side] / whole + np.arange(-_MSE_FINE, _MSE_FINE + 1) / (_MSE_FINE * _MSE_COARSE / 4)
            ends[side] = search.fine(ends, side, whole * near[(near > 0) & (near <= 1)])
    return max(values.low, ends[0] + 0.0), min(values.high, ends[1] + 0.0)


class _Mse:
    """Squared errors of candidates. The grid of levels holds 0."""

    def __init__(self, bins: Bins, levels: int, one_sided: bool) -> None:
        self._bins = bins
        self._steps = levels if one_sided else levels - 1
        middle = (bins.left + bins.right) / 2
        order = np.argsort(middle, kind="stable")
        self._middle, counts = middle[order], bins.counts[order].astype(np.float64)
        self._sums = [np.r_[0.0, np.cumsum(counts * self._middle**power)] for power in range(3)]
        self._total = float(counts.sum())

    def coarse(self, ends: list[float], side: int, candidates: Floats) -> float:
        low, high = (candidates, np.full(candidates.shape, ends[1])) if side == 0 else (ends[0], candidates)
        low = np.broadcast_to(low, candidates.shape)
        error = self._clipped(low, "below") + self._clipped(high, "above")
        step = (high - low) / self._steps
        # what rounds to 0 costs its own square, not step**2 / 12
        inner = np.searchsorted(self._middle, [-step / 2, step / 2])
        near = self._between(2, *inner)
        rounded = (self._total - self._between(0, *inner)) * step**2 / 12
        return float(candidates[_best(error + near + rounded, widest_last=True)])

    def _between(self, power: int, first: Places, last: Places) -> Floats:
        return np.asarray(self._sums[power][last] - self._sums[power][first])

    def _clipped(self, at: Floats, where: str) -> Floats:
        place = np.searchsorted(self._middle, at)
        ends = (np.zeros_like(place), place) if where == "below" else (place, np.full_like(place, self._middle.size))
        zeroth, first, second = (self._between(power, *ends) for power in range(3))
        return np.asarray(second - 2 * at * first + at**2 * zeroth)

    def fine(self, ends: list[float], side: int, candidates: Floats) -> float:
        costs = []
        for candidate in candidates:
            low, high = (candidate, ends[1]) if side == 0 else (ends[0], candidate)
            costs.append(exact_error(self._bins, low, high, self._steps))
        return float(candidates[_best(np.array(costs), widest_last=True)])


def exact_error(bins: Bins, low: float, high: float, steps: int) -> float:
    """The summed squared error of rounding to multiples of (high - low) / steps and clipping to [low, high], each bin's
    values being spread evenly over it."""
    step = (high - low) / steps
    width = bins.right - bins.left
    narrow = width <= step * 1e-6
    middle = (bins.left + bins.right) / 2
    clipped = np.clip(middle, low, high)
    single = np.where(middle == clipped, (middle - np.rint(middle / step) * step) ** 2, (middle - clipped) ** 2)
    inner = [np.clip(end, low, high) / step for end in (bins.left, bins.right)]
    integral = step**3 * (_rounding(inner[1]) - _rounding(inner[0]))
    integral += (_cube(np.maximum(bins.right - high, 0)) - _cube(np.maximum(bins.left - high, 0))) / 3
    integral += (_cube(np.maximum(low - bins.left, 0)) - _cube(np.maximum(low - bins.right, 0))) / 3
    return float(np.sum(bins.counts * np.where(narrow, single, integral / np.where(narrow, 1.0, width))))


def _rounding(u: Floats) -> Floats:
    """The integral of (t - round(t))**2 for t from 0 to u."""
    whole = np.rint(u)
    return np.asarray(whole / 12 + _cube(u - whole) / 3)


def _cube(x: Floats) -> Floats:
    return np.asarray(x * x * x)  # x**3 is ten times slower
