"""Fidelity sums give the textbook figures of all samples together, however these are split, ordered and merged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.metrics import FidelitySums, fidelity, ks_distance

SEEDS = st.integers(0, 2**32)
Pair = tuple[np.ndarray, np.ndarray]


def outputs(seed: int, count: int, shape: tuple[int, ...], spread: float) -> list[Pair]:
    rng = np.random.default_rng(seed)
    made = [rng.standard_normal(shape).astype(np.float32) for _ in range(count)]
    return [(x, (x + spread * rng.standard_normal(shape)).astype(np.float32)) for x in made]


def summed(pairs: list[Pair], class_axis: int | None = 1) -> FidelitySums:
    sums = FidelitySums(class_axis)
    for x, y in pairs:
        sums.add(x, y)
    return sums


def figures(sums: FidelitySums) -> list[float]:
    return [sums.sqnr_db, sums.cosine, sums.mse, sums.max_error, sums.agreement]


@settings(max_examples=100, deadline=None)
@given(
    seed=SEEDS,
    count=st.integers(1, 5),
    shape=st.sampled_from([(1, 7), (2, 3, 4, 5), (1, 2, 1)]),
    spread=st.sampled_from([1e-4, 0.1, 3.0]),
)
def test_figures_are_those_of_the_textbook(seed: int, count: int, shape: tuple[int, ...], spread: float) -> None:
    pairs = outputs(seed, count, shape, spread)
    x, y = (np.stack([pair[i] for pair in pairs]).astype(np.float64) for i in (0, 1))
    noise = x - y
    sums = summed(pairs)
    assert sums.sqnr_db == pytest.approx(10 * math.log10(np.square(x).sum() / np.square(noise).sum()), abs=1e-9)
    assert sums.cosine == pytest.approx(np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-12)
    assert sums.mse == pytest.approx(np.square(noise).mean())
    assert sums.max_error == np.abs(noise).max()
    assert sums.agreement == pytest.approx((x.argmax(2) == y.argmax(2)).mean(), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, count=st.integers(2, 6), cut=st.integers(1, 5))
def test_merged_parts_in_another_order_are_the_whole(seed: int, count: int, cut: int) -> None:
    pairs = outputs(seed, count, (1, 4, 3), 0.2)
    parts = [summed(pairs[cut:][::-1]), summed(pairs[:cut])]
    merged = FidelitySums()
    for part in parts:
        merged.merge(part)
    whole = summed(pairs)
    np.testing.assert_allclose(figures(merged), figures(whole), rtol=1e-12)
    assert (merged.samples, merged.elements) == (count, 12 * count)


def test_large_outputs_are_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = outputs(1, 2, (1, 5, 7), 0.1)
    whole = summed(pairs)
    monkeypatch.setattr(fidelity, "_PIECE", 8)
    np.testing.assert_allclose(figures(summed(pairs)), figures(whole), rtol=1e-12)


@given(seed=SEEDS, shape=st.sampled_from([(), (3,), (1, 4), (0, 4), (1, 2, 3, 4)]))
def test_equal_outputs_of_any_shape_are_without_noise(seed: int, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    sums = summed([(np.asarray(x), np.asarray(x.copy()))])
    assert (sums.sqnr_db, sums.mse, sums.max_error) == (math.inf, 0.0, 0.0)
    assert sums.cosine == 1.0 or (math.isnan(sums.cosine) and not x.size)


def test_zeros_have_no_direction() -> None:
    zeros, ones = np.zeros((1, 2)), np.ones((1, 2))
    assert summed([(zeros, ones)]).sqnr_db == -math.inf
    assert math.isnan(summed([(zeros, ones)]).cosine)
    assert summed([(ones, zeros)]).sqnr_db == 0.0
    assert summed([(ones, -ones)]).cosine == pytest.approx(-1.0)


def test_the_class_axis_is_the_second_unless_told() -> None:
    x = np.array([[[0, 9], [1, 8]]])  # best along axis 1: 1, 0; along the last: 1, 1
    y = np.array([[[0, 7], [1, 8]]])  # 1, 1 and 1, 1
    assert summed([(x, y)]).agreement == 0.5
    assert summed([(x, y)], class_axis=-1).agreement == 1.0
    assert math.isnan(summed([(x, y)], class_axis=None).agreement)


def test_of_equal_scores_the_first_is_best() -> None:
    assert summed([(np.array([[3, 3, 1]]), np.array([[5, 4, 4]]))]).agreement == 1.0
    assert summed([(np.array([[1, 3, 3]]), np.array([[3, 3, 1]]))]).agreement == 0.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 4), (4,), (), (0, 3)])
def test_without_a_choice_of_classes_nothing_agrees(shape: tuple[int, ...]) -> None:
    assert math.isnan(summed([(np.ones(shape), np.ones(shape))]).agreement)


def test_no_samples_have_no_figures() -> None:
    assert np.isnan(figures(FidelitySums())).all()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (np.ones((2, 1)), r"shapes \[1, 2\] and \[2, 1\], expected the same"),
        (np.array([[1.0, np.nan]]), "NaN or infinity"),
        (np.array([[1.0, np.inf]]), "NaN or infinity"),
        (np.array([["a", "b"]]), "expected numbers"),
        (np.array([[1.0, 1e200]]), "squares overflow"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_adds_nothing(found: np.ndarray, says: str) -> None:
    sums = summed(outputs(2, 1, (1, 2), 0.1))
    before = figures(sums)
    with pytest.raises(ValueError, match=says):
        sums.add(np.ones((1, 2)), found)
    assert (figures(sums), sums.samples, sums.elements) == (before, 1, 2)


def test_sums_along_different_axes_do_not_merge() -> None:
    with pytest.raises(ValueError, match="axis 1 here and -1 there"):
        FidelitySums().merge(FidelitySums(-1))


VALUES = st.lists(st.integers(0, 6), min_size=1, max_size=20)


@given(ones=VALUES, others=VALUES)
def test_the_distance_is_the_largest_gap_of_two_distribution_functions(ones: list[int], others: list[int]) -> None:
    gaps = [
        abs(sum(v <= at for v in ones) / len(ones) - sum(v <= at for v in others) / len(others)) for at in range(-1, 8)
    ]
    assert ks_distance(ones, others) == pytest.approx(max(gaps), abs=1e-12)
    assert ks_distance(ones, others) == ks_distance(others, ones[::-1])


def test_the_distance_of_the_same_and_of_apart_samples() -> None:
    assert ks_distance([0.5, 0.7], [0.7, 0.5]) == 0.0
    assert ks_distance([0.1, 0.2], [0.3]) == 1.0


@pytest.mark.parametrize(
    ("ones", "says"), [([], r"shape \[0\]"), ([[0.5]], r"shape \[1, 1\]"), ([0.5, math.nan], "NaN or infinity")]
)
def test_a_sample_that_is_none_is_refused(ones: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ks_distance(ones, [0.5])
    with pytest.raises(ValueError, match=says):
        ks_distance([0.5], ones)
