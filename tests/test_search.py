"""Comparing builds from paired blocks, and the greedy walk over alternatives: no clock, no random numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdsl.search import Attempt, compare, walk

times = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=6, max_size=40)


def test_a_build_that_is_faster_in_every_block_helps() -> None:
    found = compare([10.0, 11, 20, 10, 12, 10, 30, 10], [8.0, 9, 16, 8, 10, 8, 25, 8])
    assert found.helps
    assert (found.ratio, found.low) == pytest.approx((1.25, 1.2), abs=0.03)
    assert str(found) == "1.25x [1.20, 1.25], 10.5 to 8.5 ms, 8 blocks"


def test_drift_that_moves_both_sides_counts_for_nothing() -> None:
    drift = [1.0, 3.0, 0.5, 8.0, 2.0, 1.0, 5.0, 1.0, 2.5]
    found = compare([10 * d for d in drift], [8 * d for d in drift])
    assert (found.low, found.high) == pytest.approx((1.25, 1.25))


def test_noise_does_not_help() -> None:
    base, other = [10.0, 9, 10, 9, 10, 9, 10, 9, 10], [9.0, 10, 9, 10, 9, 10, 9, 10, 9]
    assert not compare(base, other).helps


def test_half_a_percent_is_not_worth_a_line() -> None:
    found = compare([10.05] * 9, [10.0] * 9)
    assert found.low > 1 and not found.helps


def test_one_lucky_block_does_not_decide() -> None:
    base, other = [10.0] * 15, [10.1] * 15
    other[3] = 1.0
    assert not compare(base, other).helps


@given(times)
def test_turning_the_sides_round_turns_the_interval_round(pairs: list[tuple[float, float]]) -> None:
    base, other = [b for b, _ in pairs], [o for _, o in pairs]
    there, back = compare(base, other), compare(other, base)
    assert there.low <= there.ratio <= there.high
    assert (back.low, back.high) == pytest.approx((1 / there.high, 1 / there.low))
    assert not (there.helps and back.helps)


@pytest.mark.parametrize("blocks", range(6, 40))
def test_the_interval_covers_the_median_often_enough(blocks: int) -> None:
    """Which blocks bound the interval, against the binomial distribution of those below the true median."""
    found = compare([float(i + 1) for i in range(blocks)], [1.0] * blocks)
    outside = int(found.low) - 1
    assert found.high == blocks - outside
    assert 2 * sum(comb(blocks, i) for i in range(outside + 1)) <= 0.05 * 2**blocks
    assert 2 * sum(comb(blocks, i) for i in range(outside + 2)) > 0.05 * 2**blocks


def test_equal_builds_are_rarely_told_apart() -> None:
    draw = random.Random(7)
    found = [
        compare([draw.gauss(10, 1) for _ in range(15)], [draw.gauss(10, 1) for _ in range(15)]).helps
        for _ in range(400)
    ]
    assert sum(found) <= 20  # 5 % both ways, so 2.5 % this way: 10 expected


@pytest.mark.parametrize(("base", "other"), [([1.0] * 5, [1.0] * 5), ([1.0] * 6, [1.0] * 7), ([1.0] * 6, [0.0] * 6)])
def test_what_cannot_be_compared_is_refused(base: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError):
        compare(base, other)


def scripted(good: str, calls: list[str]) -> object:
    def attempt(taken: Sequence[str], region: str) -> Attempt:
        calls.append("+".join([*taken, region]))
        return Attempt(region in good, f"tried {region}")

    return attempt


def test_each_region_is_tried_on_top_of_what_was_taken() -> None:
    calls: list[str] = []
    made = walk(["abc", "de"], 10, scripted("abde", calls))  # type: ignore[arg-type]
    assert calls == ["a", "a+b", "a+b+c", "a+b+d", "a+b+d+e"]
    assert [trial.region for trial in made if trial.attempt.taken] == list("abde")


def test_a_ladder_ends_where_it_does_not_help() -> None:
    calls: list[str] = []
    walk(["abc", "de"], 10, scripted("d", calls))  # type: ignore[arg-type]
    assert calls == ["a", "d", "d+e"]


@given(st.lists(st.text("abcdef", max_size=4), max_size=4), st.integers(0, 6), st.text("abcdef"))
def test_no_more_trials_than_allowed(ladders: list[str], trials: int, good: str) -> None:
    made = walk(ladders, trials, scripted(good, []))  # type: ignore[arg-type]
    assert len(made) <= trials
