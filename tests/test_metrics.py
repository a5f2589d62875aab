"""Detection metrics equal pycocotools', and the operating point is the best one there is."""

from __future__ import annotations

import numpy as np
import pytest
from coco_reference import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdsl.metrics import DetectionMetrics, Detections, Truth, detection_metrics, match

Picture = tuple[Detections, Truth]


def scene(seed: int, pictures: int, classes: int, grid: int, levels: int, crowds: float) -> list[Picture]:
    """Random labelled boxes and detections, many of them near a label; corners on a grid and few score levels, so that
    equal overlaps and equal scores occur."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(pictures):
        there, extra = int(rng.integers(0, 7)), int(rng.integers(0, 9))
        corners = rng.integers(0, grid, (there, 2))
        truth = np.hstack((corners, corners + rng.integers(1, grid, (there, 2)))).astype(float)
        near = truth[rng.integers(0, there, extra)] + rng.integers(-1, 2, (extra, 4)) if there else np.zeros((0, 4))
        loose = rng.integers(0, grid, (extra, 2))
        found = np.vstack((near, np.hstack((loose, loose + rng.integers(1, grid, (extra, 2))))))
        found = found[(found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])]
        scores = rng.integers(1, levels + 1, len(found)) / levels
        labels, guesses = rng.integers(0, classes, there), rng.integers(0, classes, len(found))
        made.append((Detections(found, scores, guesses), Truth(truth, labels, rng.random(there) < crowds)))
    return made


def measured(pictures: list[Picture], most: int = 100) -> DetectionMetrics:
    return detection_metrics([match(found, truth, most=most) for found, truth in pictures])


def same(pictures: list[Picture], most: int = 100) -> None:
    ours = measured(pictures, most)
    coco = reference([found for found, _ in pictures], [truth for _, truth in pictures], most)
    np.testing.assert_allclose([ours.map50, ours.map50_95], [coco.map50, coco.map50_95], rtol=0, atol=1e-9)
    assert list(ours.per_class) == list(coco.per_class)
    for label, ap in coco.per_class.items():
        assert ours.per_class[label].ap50_95 == pytest.approx(ap, rel=0, abs=1e-9)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    pictures=st.integers(1, 12),
    classes=st.integers(1, 4),
    grid=st.sampled_from([3, 10, 60]),
    levels=st.sampled_from([2, 20, 10_000]),
    crowds=st.sampled_from([0.0, 0.3, 1.0]),
    most=st.sampled_from([1, 3, 100]),
)
def test_random_boxes_score_as_in_pycocotools(
    seed: int, pictures: int, classes: int, grid: int, levels: int, crowds: float, most: int
) -> None:
    same(scene(seed, pictures, classes, grid, levels, crowds), most)


def test_boxes_off_the_grid_score_as_in_pycocotools() -> None:
    rng = np.random.default_rng(5)
    jittered = []
    for found, truth in scene(5, 200, 6, 40, 100, 0.1):
        boxes = found.boxes + rng.uniform(-0.49, 0.49, found.boxes.shape)
        jittered.append((Detections(boxes, rng.random(len(found)), found.classes), truth))
    same(jittered)


def test_one_right_and_one_wrong_box() -> None:
    truth = Truth([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 0], [False, False])
    found = Detections([[0, 0, 10, 10], [50, 50, 60, 60]], [0.9, 0.8], [0, 0])
    metrics = measured([(found, truth)])
    # recall reaches 0.5 with precision 1: 51 of the 101 recalls
    assert (metrics.map50, metrics.fitness) == (pytest.approx(51 / 101), pytest.approx(51 / 101))
    assert (metrics.precision, metrics.recall, metrics.confidence) == (1.0, 0.5, 0.9)
    assert metrics.per_class[0].present == 2


def test_a_crowd_counts_neither_way() -> None:
    truth = Truth([[0, 0, 10, 10], [20, 20, 60, 60]], [0, 0], [False, True])
    inside = [[20, 20, 30, 30], [40, 40, 60, 60]]
    metrics = measured([(Detections([[0, 0, 10, 10], *inside], [0.5, 0.9, 0.8], [0, 0, 0]), truth)])
    assert (metrics.map50, metrics.precision, metrics.recall) == (pytest.approx(1.0), 1.0, 1.0)


def test_nothing_labelled_and_nothing_found() -> None:
    empty, box = Detections([], [], []), [[0, 0, 4, 4]]
    assert np.isnan(measured([(Detections(box, [0.9], [0]), Truth([], [], []))]).map50_95)
    assert np.isnan(measured([]).precision)
    missed = measured([(empty, Truth(box, [2], [False]))])
    assert (missed.map50_95, missed.precision, missed.recall) == (0.0, 0.0, 0.0)
    assert np.isnan(missed.confidence)


def brute_force(pictures: list[Picture]) -> float:
    """The largest mean F1 over all scores, by matching anew what each leaves."""
    levels = sorted({float(s) for found, _ in pictures for s in found.scores})
    best = 0.0
    for level in levels:
        kept = []
        for found, truth in pictures:
            stays = found.scores >= level
            kept.append(match(Detections(found.boxes[stays], found.scores[stays], found.classes[stays]), truth))
        f1 = []
        for label in sorted({label for picture in kept for label in picture.present}):
            of = [(picture, picture.classes == label) for picture in kept]
            hits = sum(int(p.right[w, 0].sum()) for p, w in of)
            misses = sum(int((~p.right[w, 0] & ~p.ignored[w, 0]).sum()) for p, w in of)
            there = sum(p.present.get(label, 0) for p in kept)
            f1.append(2 * hits / (hits + misses + there))
        best = max(best, float(np.mean(f1)) if f1 else 0.0)
    return best


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), levels=st.sampled_from([3, 50]))
def test_the_operating_point_has_the_best_mean_f1(seed: int, levels: int) -> None:
    pictures = scene(seed, 5, 3, 12, levels, 0.2)
    metrics = measured(pictures)
    if metrics.per_class and any(len(found) for found, _ in pictures):
        assert metrics.f1 == pytest.approx(brute_force(pictures), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_pictures_in_another_order_score_the_same(seed: int) -> None:
    pictures = scene(seed, 6, 3, 12, 100_000, 0.1)
    scores = [float(s) for found, _ in pictures for s in found.scores]
    if len(set(scores)) < len(scores):
        return  # equal scores count in the order they come
    ours, turned = measured(pictures), measured(pictures[::-1])
    assert (ours.ap, ours.precision, ours.recall) == (turned.ap, turned.precision, turned.recall)


def test_verdicts_of_a_picture_may_repeat() -> None:
    pictures = scene(3, 4, 2, 20, 1000, 0.0)
    verdicts = [match(found, truth) for found, truth in pictures]
    doubled = detection_metrics(verdicts * 2)
    assert doubled.pictures == 8
    assert doubled.precision == pytest.approx(detection_metrics(verdicts).precision)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Detections([[0, 0, 1]], [1.0], [0]), r"shape \[1, 3\], expected \[n, 4\]"),
        (lambda: Detections([[0, 0, 1, 1]], [1.0, 0.5], [0]), r"scores have shape \[2\], expected \[1\]"),
        (lambda: Detections([[0, 0, 1, np.inf]], [1.0], [0]), "NaN or infinity"),
        (lambda: Detections([[4, 0, 1, 1]], [1.0], [0]), "ends before it begins"),
        (lambda: Detections([[0, 0, 1, 1]], [np.nan], [0]), "scores hold NaN"),
        (lambda: Truth([[0, 0, 1, 1]], [-1], [False]), "negative index"),
        (lambda: Truth([[0, 0, 1, 1]], [0], []), r"crowd have shape \[0\]"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()  # type: ignore[operator]
