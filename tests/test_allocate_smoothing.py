"""Choices whose bounds are measured on few samples: what all measurements say counts, not the luckiest one."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from qdsl.allocate.cut import Costs
from qdsl.allocate.evaluating import wilson
from qdsl.allocate.hull import Chosen, Estimates
from qdsl.allocate.losses import Loss
from qdsl.allocate.searching import Search, Shown
from qdsl.allocate.smoothing import falling

POINTS = st.lists(st.tuples(st.integers(0, 30), st.integers(-40, 40)), min_size=1, max_size=25)
CHANCE = 1.5  # the standard deviation of a measured margin


@given(POINTS)
def test_the_fit_is_isotonic_regression(points: list[tuple[int, int]]) -> None:
    losses, margins = zip(*points, strict=True)
    known = IsotonicRegression(increasing=False).fit(losses, margins).predict(losses)
    fit = falling((loss, margin) for loss, margin in points)
    assert [fit.at(loss) for loss in losses] == pytest.approx(list(known), abs=1e-9)


def test_what_was_not_measured_is_expected_as_its_neighbours() -> None:
    fit = falling([(1.0, 2.0), (2.0, -1.0), (3.0, 1.0), (4.0, math.inf), (5.0, -math.inf)])
    assert [fit.at(loss) for loss in (0.0, 1.0, 1.5, 3.0, 9.0)] == [2.0, 2.0, 0.0, 0.0, 0.0]
    assert falling([]).at(1.0) == math.inf


def chain(count: int) -> Estimates:
    """Layers in a row that cost 1 each in float, each losing a little less than the one before."""
    losses = [Loss(0.9**at, (at,)) for at in range(count)]
    return Estimates(Costs([(0.0, 1.0)] * count), losses, {})


def true_margin(estimates: Estimates, chosen: Chosen) -> float:
    """Inside the bound up to a loss of 2."""
    return 2.0 - estimates.loss(chosen)


def lucky(seed: int, spread: float) -> tuple[float, float]:
    """What a search that is told of so much chance takes: its true margin and its cost."""
    estimates, draw = chain(40), Random(seed)

    def measure(chosen: Chosen) -> Shown:
        margin = true_margin(estimates, chosen) + draw.gauss(0.0, CHANCE)
        return Shown(chosen, margin >= 0.0, margin, None, spread)

    search = Search(estimates, range(40), measure, parts=12, scan=20)
    spent = 0

    def counted(chosen: Chosen) -> Shown | None:
        nonlocal spent
        spent += 1
        return measure(chosen) if spent <= 60 else None

    search.measure = counted
    best = search.run()
    assert best is not None and best.holds and spent <= 61
    return true_margin(estimates, best.chosen), estimates.cost(best.chosen)


@pytest.mark.slow
def test_a_bound_that_holds_by_chance_is_not_taken() -> None:
    """Of sixty choices measured with noise as wide as the bound, the cheapest that seems to hold is far outside."""
    trusting, careful = ([lucky(seed, spread) for seed in range(12)] for spread in (0.0, 2 * CHANCE))
    assert sum(margin for margin, _ in trusting) / 12 < -1.5
    assert sum(margin for margin, _ in careful) / 12 > -0.6
    assert sum(cost for _, cost in careful) / 12 < 25  # 15 layers in float are needed


@pytest.mark.slow
def test_parts_are_not_measured_where_chance_is_larger() -> None:
    estimates, asked = chain(40), list[Chosen]()

    def measure(chosen: Chosen) -> Shown:
        asked.append(chosen)
        margin = true_margin(estimates, chosen)
        return Shown(chosen, margin >= 0.0, margin, None, 3.0)

    before = estimates.losses
    search = Search(estimates, range(40), measure, parts=12, scan=5)
    search.run()
    assert search.estimates.losses is before


@pytest.mark.parametrize(
    ("share", "count", "low", "high"), [(0.9, 10, 0.596, 0.982), (1.0, 16, 0.806, 1.0), (0.0, 0, 0.0, 1.0)]
)
def test_shares_of_few_samples_are_uncertain(share: float, count: int, low: float, high: float) -> None:
    assert wilson(share, count) == pytest.approx((low, high), abs=1e-3)


def test_an_agreement_that_is_not_known_has_no_interval() -> None:
    assert all(math.isnan(end) for end in wilson(math.nan, 4))
    fit = falling([(1.0, math.nan), (2.0, 1.0)])
    assert fit.at(1.0) == 1.0
