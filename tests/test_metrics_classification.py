"""Classification metrics equal scikit-learn's, from any batches, in any order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

from qdsl.metrics import ClassificationMetrics, Guesses, classification_metrics, guesses

SEEDS = st.integers(0, 2**32)


def drawn(seed: int, count: int, classes: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Random scores, of few levels so that equal ones occur, and labels; some classes are missing."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, levels, (count, classes)) / levels, rng.integers(0, rng.integers(1, classes + 1), count)


def measured(scores: np.ndarray, labels: np.ndarray) -> ClassificationMetrics:
    return classification_metrics([guesses(scores, labels)])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 40), classes=st.integers(3, 12), levels=st.sampled_from([3, 20, 100_000]))
def test_random_scores_are_measured_as_by_scikit_learn(seed: int, count: int, classes: int, levels: int) -> None:
    scores, labels = drawn(seed, count, classes, levels)
    ours, best, every = measured(scores, labels), scores.argmax(1), np.arange(classes)
    np.testing.assert_array_equal(ours.confusion, confusion_matrix(labels, best, labels=every))
    *rates, support = precision_recall_fscore_support(labels, best, labels=every, zero_division=0)
    np.testing.assert_allclose([(c.precision, c.recall, c.f1) for c in ours.per_class], np.transpose(rates), atol=1e-12)
    assert [c.support for c in ours.per_class] == support.tolist()
    for average, found in (("macro", ours.macro), ("micro", ours.micro)):
        expected = precision_recall_fscore_support(labels, best, average=average, zero_division=0)[:3]
        np.testing.assert_allclose((found.precision, found.recall, found.f1), expected, atol=1e-12)
    # scikit-learn takes the last of equal scores first: with the classes turned round, the first
    turned = scores[:, ::-1], classes - 1 - labels
    for k, share in ((1, ours.top1), (5, ours.top5)):
        expected = top_k_accuracy_score(turned[1], turned[0], k=k, labels=every) if k < classes else 1.0
        assert share == pytest.approx(expected, abs=1e-12)
    assert ours.accuracy == pytest.approx(float((best == labels).mean()), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 30), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_batches_and_their_order_do_not_matter(seed: int, count: int, cuts: list[int]) -> None:
    scores, labels = drawn(seed, count, 6, 10)
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    parts = [guesses(scores[a:b], labels[a:b]) for a, b in itertools.pairwise(bounds)]
    whole, joined = measured(scores, labels), classification_metrics(parts[::-1])
    np.testing.assert_array_equal(whole.confusion, joined.confusion)
    assert (whole.top1, whole.top5, whole.macro, whole.per_class) == (
        joined.top1,
        joined.top5,
        joined.macro,
        joined.per_class,
    )


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, indices=st.lists(st.integers(0, 19), max_size=60))
def test_samples_drawn_again_are_measured_as_if_seen_again(seed: int, indices: list[int]) -> None:
    scores, labels = drawn(seed, 20, 7, 10)
    taken = guesses(scores, labels).take(indices)
    again = guesses(scores[indices], labels[indices])
    assert len(taken) == len(indices)
    for field in ("labels", "best", "ranks", "confidence"):
        np.testing.assert_array_equal(getattr(taken, field), getattr(again, field))


def test_guesses_hold_the_best_class_its_score_and_the_rank_of_the_true_one() -> None:
    found = guesses([[0.1, 0.7, 0.2], [5, 5, 9], [5, 5, 5]], [2, 1, 0])
    assert found.best.tolist() == [1, 2, 0]
    assert found.ranks.tolist() == [1, 2, 0]  # of equal scores the lower class comes first
    assert found.confidence.tolist() == [0.7, 9.0, 5.0]


def test_a_class_that_never_occurs_is_left_out_of_the_mean_and_one_never_guessed_is_not() -> None:
    # class 0 twice, once guessed as class 1; class 1 has no samples, class 2 is never guessed, class 3 never occurs
    metrics = measured(np.eye(4)[[0, 1, 0]], np.array([0, 0, 2]))
    rows = [(c.precision, c.recall, c.f1, c.support) for c in metrics.per_class]
    assert rows == [(0.5, 0.5, 0.5, 2), (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)]
    assert metrics.macro.precision == pytest.approx(0.5 / 3)
    assert metrics.confusion.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_all_wrong() -> None:
    metrics = measured(np.eye(6)[[1, 2, 0]], np.array([0, 1, 5]))
    assert (metrics.top1, metrics.macro.f1, metrics.micro.f1) == (0.0, 0.0, 0.0)
    assert metrics.top5 == pytest.approx(2 / 3)  # class 5 is the last of six


def test_one_class_is_always_right() -> None:
    metrics = measured(np.array([[0.1], [0.9]]), np.array([0, 0]))
    assert (metrics.top1, metrics.top5, metrics.macro.f1) == (1.0, 1.0, 1.0)
    assert metrics.confusion.tolist() == [[2]]


def test_no_samples_measure_nothing() -> None:
    for metrics in (measured(np.zeros((0, 3)), np.zeros(0)), classification_metrics([])):
        assert metrics.samples == 0
        assert np.isnan([metrics.top1, metrics.top5, metrics.macro.f1, metrics.micro.precision]).all()
    assert measured(np.zeros((0, 3)), np.zeros(0)).confusion.tolist() == [[0, 0, 0]] * 3


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: guesses([0.5, 0.5], [0]), r"scores have shape \[2\], expected \[n, classes\]"),
        (lambda: guesses(np.zeros((2, 0)), [0, 0]), r"scores have shape \[2, 0\]"),
        (lambda: guesses([[0.5, np.nan]], [0]), "scores hold NaN or infinity"),
        (lambda: guesses([[0.5, np.inf]], [0]), "scores hold NaN or infinity"),
        (lambda: guesses([[0.5, 0.5]], [0, 1]), r"labels have shape \[2\], expected \[1\]"),
        (lambda: guesses([[0.5, 0.5]], [2]), "labels go from 2 to 2, expected 0 to 1"),
        (lambda: guesses([[0.5, 0.5]], [-1]), "labels go from -1 to -1, expected 0 to 1"),
        (lambda: guesses([[0.5, 0.5]], [0.5]), "labels are of type float64, expected integers"),
        (lambda: Guesses([0], [0], [0], [np.nan], 2), "confidence holds NaN"),
        (lambda: Guesses([0], [0], [0], [], 2), r"confidence has shape \[0\], expected \[1\]"),
        (lambda: Guesses([0], [0], [2], [0.5], 2), "ranks go from 2 to 2"),
        (lambda: classification_metrics([guesses([[1.0]], [0]), guesses([[1.0, 0]], [0])]), "not of one model"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()  # type: ignore[operator]
