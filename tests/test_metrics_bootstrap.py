"""Bootstrap intervals are reproducible, paired and of the promised coverage; drawn pictures score as their list."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdsl.metrics import (
    Detections,
    Interval,
    Matches,
    ResampledPrecision,
    Truth,
    bootstrap,
    classification_metrics,
    detection_metrics,
    guesses,
    match,
    paired_interval,
    paired_intervals,
    paired_mean_interval,
)

SEEDS = st.integers(0, 2**32)


def values(seed: int, count: int, shift: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Values of two models on the same samples, alike but for noise and a shift."""
    rng = np.random.default_rng(seed)
    ones = rng.normal(0, 5, count)
    return ones, ones - shift + rng.normal(0, 0.2, count)


def mean_interval(ones: np.ndarray, others: np.ndarray, **options: float) -> Interval:
    """By the general way."""

    def statistic(at: np.ndarray) -> tuple[float, float]:
        return float(ones[at].mean()), float(others[at].mean())

    return paired_interval(statistic, len(ones), **options)  # type: ignore[arg-type]


def ends(interval: Interval) -> tuple[float, float, float]:
    return interval.difference, interval.low, interval.high


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 50), resamples=st.integers(39, 120), piece=st.sampled_from([1, 333, 1 << 20]))
def test_means_take_the_fast_way_over_the_same_draws(seed: int, count: int, resamples: int, piece: int) -> None:
    ones, others = values(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_PIECE", piece)
        fast = paired_mean_interval(ones, others, resamples, seed)
    slow = mean_interval(ones, others, resamples=resamples, seed=seed)
    assert ends(fast) == pytest.approx(ends(slow), rel=1e-9, abs=1e-12)
    assert (fast.level, fast.resamples) == (slow.level, slow.resamples) == (0.95, resamples)


def test_a_seed_gives_one_interval_and_another_seed_another() -> None:
    ones, others = values(3, 40)
    assert mean_interval(ones, others, seed=7) == mean_interval(ones, others, seed=7)
    assert ends(mean_interval(ones, others, seed=7))[1:] != ends(mean_interval(ones, others, seed=8))[1:]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 30), level=st.sampled_from([0.5, 0.9, 0.95]))
def test_with_the_models_changed_over_the_interval_is_turned_round(seed: int, count: int, level: float) -> None:
    ones, others = values(seed, count)
    there = mean_interval(ones, others, resamples=100, level=level)
    back = mean_interval(others, ones, resamples=100, level=level)
    assert ends(there) == (-back.difference, -back.high, -back.low)
    assert there.low <= there.high


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, count=st.integers(2, 30))
def test_a_higher_level_gives_a_wider_interval(seed: int, count: int) -> None:
    found = [paired_mean_interval(*values(seed, count), level=level) for level in (0.5, 0.8, 0.95, 0.99)]
    for narrow, wide in itertools.pairwise(found):
        assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_the_same_model_differs_by_nothing() -> None:
    ones, _ = values(1, 30)
    assert ends(mean_interval(ones, ones)) == ends(paired_mean_interval(ones, ones)) == (0.0, 0.0, 0.0)


def test_pairing_takes_out_what_both_models_find_hard() -> None:
    ones, others = values(5, 200)
    paired = paired_mean_interval(ones, others)
    apart = paired_mean_interval(ones, others[np.random.default_rng(0).permutation(200)])
    assert 10 * (paired.high - paired.low) < apart.high - apart.low
    assert 0 < paired.low < 0.1 < paired.high


def test_nineteen_of_twenty_intervals_hold_the_true_difference() -> None:
    held = 0
    for seed in range(400):
        interval = paired_mean_interval(*values(seed, 60, shift=0.3), seed=seed, resamples=399)
        held += interval.low <= 0.3 <= interval.high
    assert 0.91 < held / 400 < 0.975  # 0.95, less a little for 60 samples, within three standard errors


def test_the_ends_are_the_kth_lowest_and_highest_difference() -> None:
    draws: list[float] = []

    def statistic(at: np.ndarray) -> tuple[float, float]:
        draws.append(float(at.mean()))
        return draws[-1], 0.0

    interval = paired_interval(statistic, 25, resamples=999)
    whole, *drawn = draws
    assert (whole, interval.difference) == (12.0, 12.0)
    assert (interval.low, interval.high) == (sorted(drawn)[24], sorted(drawn)[-25])  # (999 + 1) * 0.025 = 25


def test_several_metrics_on_the_same_draws() -> None:
    ones, others = values(2, 20)

    def both(at: np.ndarray) -> tuple[list[float], list[float]]:
        return [ones[at].mean(), ones[at].max()], [others[at].mean(), others[at].max()]

    mean, most = paired_intervals(both, 20, seed=4)
    assert mean == mean_interval(ones, others, seed=4)
    assert most == paired_interval(lambda at: (float(ones[at].max()), float(others[at].max())), 20, seed=4)


def test_what_has_no_difference_is_left_out_and_counted() -> None:
    def rare(at: np.ndarray) -> tuple[float, float]:
        return (float(at.mean()), 0.0) if 0 in at else (math.nan, 0.0)

    interval = paired_interval(rare, 5)
    expected = 1 - (4 / 5) ** 5
    assert abs(interval.resamples / 1000 - expected) < 0.05
    assert np.isfinite([interval.low, interval.high]).all()
    never = paired_interval(lambda at: (math.inf, math.inf), 5)
    assert np.isnan(ends(never)).all()
    assert never.resamples == 0


def test_infinite_differences_are_ordered_like_others() -> None:
    interval = paired_interval(lambda at: (math.inf if 0 in at else 1.0, 0.0), 2)
    assert (interval.low, interval.high) == (1.0, math.inf)


def test_a_classifier_may_be_drawn_again() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 80)
    scores = np.eye(4)[labels] + rng.normal(0, 0.5, (80, 4))
    held = [guesses(s, labels) for s in (scores, scores + rng.normal(0, 0.5, (80, 4)))]

    def top1(at: np.ndarray) -> tuple[float, float]:
        one, other = (classification_metrics([each.take(at)]).top1 for each in held)
        return one, other

    right = [(each.ranks == 0).astype(float) for each in held]
    expected = paired_mean_interval(right[0], right[1], resamples=200)
    assert ends(paired_interval(top1, 80, resamples=200)) == pytest.approx(ends(expected), abs=1e-12)
    assert expected.low > 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: paired_mean_interval([], []), "no samples"),
        (lambda: paired_interval(lambda at: (0.0, 0.0), 0), "no samples"),
        (lambda: paired_mean_interval([1.0], [1.0, 2.0]), r"shapes \[1\] and \[2\], expected \[n\]"),
        (lambda: paired_mean_interval([[1.0]], [[1.0]]), r"shapes \[1, 1\]"),
        (lambda: paired_mean_interval([1.0], [math.nan]), "NaN or infinity"),
        (lambda: paired_mean_interval([1.0], [1.0], level=1.0), "level is 1.0"),
        (lambda: paired_mean_interval([1.0], [1.0], level=0.0), "level is 0.0"),
        (
            lambda: paired_mean_interval([1.0], [1.0], 38),
            "38 resamples are too few for level 0.95: expected at least 39",
        ),
        (lambda: paired_mean_interval([1.0], [1.0], 198, level=0.99), "expected at least 199"),
        (lambda: paired_intervals(lambda at: ([0.0], [0.0, 1.0]), 3), r"shapes \[1\] and \[2\], expected \[k\]"),
        (lambda: ResampledPrecision([]).means([0]), "indices do not fit"),
        (lambda: ResampledPrecision(scene(0, 2, 1)).means([-1]), "each from 0 to 1"),
        (lambda: ResampledPrecision(scene(0, 2, 1)).means([[0]]), "indices do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()  # type: ignore[operator]


def scene(
    seed: int, count: int, classes: int, extra: int = 8, crowds: float = 0.2, levels: int = 0, objects: int = 6
) -> list[Matches]:
    """Verdicts of random pictures, many detections near a label; all scores differ unless there are `levels`."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        there, loose = int(rng.integers(0, objects)), int(rng.integers(0, extra))
        corners = rng.uniform(0, 20, (there, 2))
        truth = np.hstack((corners, corners + rng.uniform(2, 20, (there, 2))))
        near = truth[rng.integers(0, there, loose)] + rng.uniform(-1, 1, (loose, 4)) if there else np.zeros((0, 4))
        wild = rng.uniform(0, 20, (loose, 2))
        boxes = np.vstack((truth + rng.uniform(-1, 1, truth.shape), near, np.hstack((wild, wild + 5))))
        scores = rng.random(len(boxes))
        scores = np.ceil(scores * levels) / levels if levels else scores
        labels = rng.integers(0, classes, there)
        said = np.concatenate((labels, rng.integers(0, classes + 1, 2 * loose if there else loose)))
        made.append(match(Detections(boxes, scores, said), Truth(truth, labels, rng.random(there) < crowds)))
    return made


def agree(held: ResampledPrecision, matches: list[Matches], indices: list[int]) -> None:
    expected = detection_metrics([matches[i] for i in indices])
    np.testing.assert_array_equal(held.means(indices), [expected.map50, expected.map50_95])
    found = dict(zip(held.labels, held.per_class(indices), strict=True))
    assert set(expected.per_class) <= set(found)
    for label, ap in found.items():
        one = expected.per_class.get(label)
        scores = (one.ap50, one.ap50_95) if one else (math.nan, math.nan)
        np.testing.assert_array_equal([ap[0], ap.mean()], scores)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=SEEDS,
    count=st.integers(1, 10),
    classes=st.integers(1, 4),
    crowds=st.sampled_from([0.0, 0.3, 1.0]),
    draw=st.lists(st.integers(0, 9), max_size=25),
)
def test_drawn_pictures_have_the_precision_of_their_list_to_the_last_bit(
    seed: int, count: int, classes: int, crowds: float, draw: list[int]
) -> None:
    matches = scene(seed, count, classes, crowds=crowds)
    agree(ResampledPrecision(matches), matches, [i % count for i in draw])


def test_many_labels_fill_the_recalls_to_the_last_bit() -> None:
    matches = scene(11, 300, 2)
    held = ResampledPrecision(matches)
    for seed in range(5):
        agree(held, matches, np.random.default_rng(seed).integers(0, 300, 300).tolist())


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, levels=st.sampled_from([1, 3, 20]), drawn=st.sets(st.integers(0, 7)))
def test_equal_scores_count_in_the_order_of_the_pictures(seed: int, levels: int, drawn: set[int]) -> None:
    matches = scene(seed, 8, 2, levels=levels)
    agree(ResampledPrecision(matches), matches, sorted(drawn))


def test_pictures_without_labels_or_detections_have_no_precision() -> None:
    held = ResampledPrecision([match(Detections([[0, 0, 1, 1]], [0.5], [0]), Truth([], [], []))])
    assert np.isnan(held.means([0, 0])).all()
    assert held.per_class([0]).shape == (0, 10)
    missed = ResampledPrecision([match(Detections([], [], []), Truth([[0, 0, 1, 1]], [2], [False]))])
    assert missed.labels == (2,)
    assert missed.means([0]).tolist() == [0.0, 0.0]
    assert np.isnan(missed.means([])).all()


def test_the_interval_of_a_detector_is_that_of_its_metrics() -> None:
    found = [scene(seed, 20, 3) for seed in (1, 2)]
    models = [ResampledPrecision(matches) for matches in found]
    quick = paired_intervals(lambda at: (models[0].means(at), models[1].means(at)), 20, resamples=60)

    def slow(at: np.ndarray) -> tuple[list[float], list[float]]:
        one, other = (detection_metrics([matches[i] for i in at]) for matches in found)
        return [one.map50, one.map50_95], [other.map50, other.map50_95]

    assert quick == paired_intervals(slow, 20, resamples=60)
    assert all(interval.low < interval.difference < interval.high for interval in quick)
