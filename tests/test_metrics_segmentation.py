"""Segmentation metrics equal scikit-learn's over all pixels, picture by picture, with a label that does not count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score, precision_recall_fscore_support

from qdsl.metrics import pixel_confusion, segmentation_metrics

Picture = tuple[np.ndarray, np.ndarray]
IGNORED = 255


def pictures(seed: int, count: int, classes: int, dtype: type = np.uint8) -> list[Picture]:
    """Random maps of prediction and truth, of different sizes; some classes are missing and some pixels ignored."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = tuple(rng.integers(1, 9, 2))
        truth = rng.integers(0, rng.integers(1, classes + 1), size)
        predicted = np.where(rng.random(size) < 0.5, truth, rng.integers(0, classes, size))
        truth[rng.random(size) < 0.2] = IGNORED
        made.append((predicted.astype(dtype), truth.astype(dtype)))
    return made


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 4),
    classes=st.integers(2, 6),
    dtype=st.sampled_from([np.uint8, np.int16, np.int64]),
)
def test_random_maps_are_measured_as_by_scikit_learn(seed: int, count: int, classes: int, dtype: type) -> None:
    maps = pictures(seed, count, classes, dtype)
    ours = segmentation_metrics([pixel_confusion(said, truth, classes, IGNORED) for said, truth in maps])
    said, truth = (np.concatenate([pair[i].ravel() for pair in maps]).astype(int) for i in (0, 1))
    said, truth = said[truth != IGNORED], truth[truth != IGNORED]
    if not truth.size:
        assert np.isnan([ours.miou, ours.accuracy]).all()
        return
    np.testing.assert_array_equal(ours.confusion, confusion_matrix(truth, said, labels=np.arange(classes)))
    occur = np.union1d(truth, said)
    for label, overlap in enumerate(ours.per_class):
        assert np.isnan(overlap.iou) == np.isnan(overlap.precision) == (label not in occur)
    expected = jaccard_score(truth, said, labels=occur, average=None, zero_division=0)
    np.testing.assert_allclose([ours.per_class[label].iou for label in occur], expected, atol=1e-12)
    assert ours.miou == pytest.approx(expected.mean(), abs=1e-12)
    rates = precision_recall_fscore_support(truth, said, labels=occur, zero_division=0)[:3]
    found = [(ours.per_class[c].precision, ours.per_class[c].recall, ours.per_class[c].f1) for c in occur]
    np.testing.assert_allclose(found, np.transpose(rates), atol=1e-12)
    np.testing.assert_allclose((ours.precision, ours.recall, ours.f1), np.mean(rates, axis=1), atol=1e-12)
    assert ours.accuracy == pytest.approx(float((said == truth).mean()), abs=1e-12)


def test_overlap_by_hand() -> None:
    truth = [[0, 0, 1], [1, 1, 255]]
    metrics = segmentation_metrics([pixel_confusion([[0, 1, 1], [1, 0, 7]], truth, 4, ignore=255)])
    zero, one, two, three = metrics.per_class
    assert (zero.iou, zero.dice, zero.precision, zero.recall, zero.pixels) == (1 / 3, 0.5, 0.5, 0.5, 2)
    assert (one.iou, one.dice) == (pytest.approx(2 / 4), pytest.approx(4 / 6))
    assert np.isnan([two.iou, two.dice, two.precision, two.recall, two.f1, three.iou]).all()
    assert metrics.miou == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert metrics.accuracy == pytest.approx(3 / 5)


def test_a_class_that_is_only_predicted_or_only_there_scores_0_and_counts() -> None:
    metrics = segmentation_metrics([pixel_confusion([[0, 0, 1]], [[0, 2, 0]], 3)])
    assert (metrics.per_class[1].iou, metrics.per_class[1].recall, metrics.per_class[1].pixels) == (0.0, 0.0, 0)
    assert (metrics.per_class[2].iou, metrics.per_class[2].precision, metrics.per_class[2].pixels) == (0.0, 0.0, 1)
    assert metrics.miou == pytest.approx((1 / 3) / 3)


def test_ignoring_a_class_does_not_excuse_predicting_it() -> None:
    confusion = pixel_confusion([[0, 0, 1]], [[0, 1, 1]], 2, ignore=0)
    assert confusion.tolist() == [[0, 0], [1, 1]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), indices=st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_pictures_in_any_order_and_drawn_again_are_one_picture_of_all_their_pixels(
    seed: int, indices: list[int]
) -> None:
    maps = pictures(seed, 4, 3)
    confusions = np.stack([pixel_confusion(said, truth, 3, IGNORED) for said, truth in maps])
    joined = [np.concatenate([maps[i][side].ravel() for i in indices])[None] for side in (0, 1)]
    ours = segmentation_metrics(confusions[indices])
    np.testing.assert_array_equal(ours.confusion, pixel_confusion(joined[0], joined[1], 3, IGNORED))
    assert ours.pictures == len(indices)
    turned = segmentation_metrics([confusions[i] for i in reversed(indices)])
    assert repr((ours.miou, ours.per_class)) == repr((turned.miou, turned.per_class))  # NaN is NaN here


def test_everything_ignored_or_no_pictures_measures_nothing() -> None:
    ignored = pixel_confusion([[9, 9]], [[255, 255]], 2, ignore=255)
    assert ignored.tolist() == [[0, 0], [0, 0]]
    for metrics in (segmentation_metrics([ignored]), segmentation_metrics([])):
        assert np.isnan([metrics.miou, metrics.dice, metrics.f1, metrics.accuracy, metrics.precision]).all()


def test_one_class_and_a_mask_of_booleans() -> None:
    assert segmentation_metrics([pixel_confusion([[0, 0]], [[0, 0]], 1)]).miou == 1.0
    assert pixel_confusion([[True, False]], [[True, True]], 2).tolist() == [[0, 0], [1, 1]]


def test_all_wrong() -> None:
    metrics = segmentation_metrics([pixel_confusion([[1, 0]], [[0, 1]], 2)])
    assert (metrics.miou, metrics.dice, metrics.accuracy) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: pixel_confusion([[0, 1]], [[0], [1]], 2), r"predicted has shape \[1, 2\], truth \[2, 1\]"),
        (lambda: pixel_confusion([0, 1], [0, 1], 2), r"predicted has shape \[2\], expected \[h, w\]"),
        (lambda: pixel_confusion([[0.0, 1.0]], [[0, 1]], 2), "predicted is of type float64, expected integers"),
        (lambda: pixel_confusion([[0, 1]], [[0, np.nan]], 2), "truth is of type float64"),
        (lambda: pixel_confusion([[0, 2]], [[0, 1]], 2), "predicted goes from 0 to 2, expected 0 to 1"),
        (lambda: pixel_confusion([[0, 1]], [[0, 255]], 2), "truth goes from 0 to 255, expected 0 to 1"),
        (lambda: pixel_confusion([[0, -1]], [[0, 1]], 2), "predicted goes from -1 to 0"),
        (lambda: pixel_confusion([[0]], [[0]], 0), "0 classes, expected at least 1"),
        (lambda: segmentation_metrics(np.zeros((2, 2, 3), np.int64)), r"confusions have shapes \[2, 3\]"),
        (lambda: segmentation_metrics([np.eye(2, dtype=int), np.eye(3, dtype=int)]), r"shapes \[2, 2\], \[3, 3\]"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()  # type: ignore[operator]
