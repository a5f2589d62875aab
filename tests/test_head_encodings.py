"""Boxes that are known, written as each head is trained to write them, come out as they went in.

The encodings are those of the training targets, not the decodings turned around: YOLOv5 `build_targets` and
`ComputeLoss` (ultralytics/yolov5, utils/loss.py), YOLOX `get_l1_target` (Megvii, yolo_head.py), SSD `encode`
(amdegroot/ssd.pytorch, layers/box_utils.py; torchvision's `BoxCoder` with weights 10, 10, 5, 5), NanoDet
`bbox2distance` with `DistributionFocalLoss` (the target lies between two bins, by its distance to each),
FastestDet `build_target`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from qdsl.metrics.decoding import detections, suited
from qdsl.metrics.heads import ssd_priors

HIGH, WIDE, CLASSES = 192, 256, 3
STRIDES = (8, 16, 32)
V5 = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))
V7 = (((12, 16), (19, 36), (40, 28)), ((36, 75), (76, 55), (72, 146)), ((142, 110), (192, 243), (459, 401)))
Truth = list[tuple[float, float, float, float, int, float]]  # cx, cy, w, h, class, score
Encoded = tuple[list[Any], dict[str, Any]]


def known(seed: int = 0, count: int = 12) -> Truth:
    """Boxes of 12 to 90 pixels, one in each of twelve tiles, so that no two share a cell; scores fall."""
    draw = np.random.default_rng(seed)
    tiles = [(column * 64 + 32, row * 64 + 32) for row in range(3) for column in range(4)][:count]
    found = []
    for at, (x, y) in enumerate(tiles):
        cx, cy = x + draw.uniform(-14, 14), y + draw.uniform(-14, 14)
        found.append((cx, cy, draw.uniform(12, 90), draw.uniform(12, 90), at % CLASSES, 0.95 - 0.04 * at))
    return found


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def level_for(w: float, h: float) -> int:
    """As assigners do: larger boxes on coarser grids."""
    return 0 if max(w, h) < 32 else 1 if max(w, h) < 64 else 2


def yolov5(truth: Truth, anchors: Sequence[Any] = V5) -> Encoded:
    maps = [np.full((1, 3, HIGH // s, WIDE // s, 5 + CLASSES), -40.0) for s in STRIDES]
    for cx, cy, w, h, label, score in truth:
        fits = (
            (max(w / a, a / w, h / b, b / h), level, at)
            for level, own in enumerate(anchors)
            for at, (a, b) in enumerate(own)
        )
        ratio, level, anchor = min(fits)
        assert ratio < 4, "`anchor_t` of the hyperparameters: others are not matched"
        (a, b), stride = anchors[level][anchor], STRIDES[level]
        column, row = int(cx / stride), int(cy / stride)
        cell = maps[level][0, anchor, row, column]
        cell[:2] = [logit((cx / stride - column + 0.5) / 2), logit((cy / stride - row + 0.5) / 2)]
        cell[2:4] = [logit((w / a) ** 0.5 / 2), logit((h / b) ** 0.5 / 2)]
        cell[4], cell[5 + label] = logit(score), 40.0
    return maps, {"logits": True}


def yolox(truth: Truth) -> Encoded:
    maps = [np.zeros((HIGH // s, WIDE // s, 5 + CLASSES)) for s in STRIDES]
    for cx, cy, w, h, label, score in truth:
        level = level_for(w, h)
        stride = STRIDES[level]
        column, row = int(cx / stride), int(cy / stride)
        cell = maps[level][row, column]
        cell[:4] = [cx / stride - column, cy / stride - row, np.log(w / stride), np.log(h / stride)]
        cell[4], cell[5 + label] = score, 1.0
    return [np.concatenate([each.reshape(-1, 5 + CLASSES) for each in maps])[None]], {}


def nanodet(truth: Truth, strides: Sequence[int] = (8, 16, 32, 64), offset: float = 0.0) -> Encoded:
    """Distances from a grid point inside the box to its sides, in cells, each between two of eight bins."""
    parts = [np.full(((HIGH // s) * (WIDE // s), CLASSES + 32), -40.0) for s in strides]
    for cx, cy, w, h, label, score in truth:
        level = sum(min(w, h) > side for side in (32, 64, 72)[: len(strides) - 1])
        stride = strides[level]
        column, row = (
            min(round(cx / stride - offset), WIDE // stride - 1),
            min(round(cy / stride - offset), HIGH // stride - 1),
        )
        x, y = (column + offset) * stride, (row + offset) * stride
        cell = parts[level][row * (WIDE // stride) + column]
        assert cell[:CLASSES].max() == -40.0, "the cell is free"
        cell[label] = logit(score)
        for side, reach in enumerate((x - cx + w / 2, y - cy + h / 2, cx + w / 2 - x, cy + h / 2 - y)):
            far = reach / stride
            assert 0 <= far < 7, "the target is clamped to reg_max"
            left = int(far)
            bins = cell[CLASSES + 8 * side :][:8]
            bins[:] = -800.0
            bins[left], bins[left + 1] = np.log(max(left + 1 - far, 1e-300)), np.log(max(far - left, 1e-300))
    return [np.concatenate(parts)[None]], {"strides": tuple(strides), "offset": offset, "logits": True}


def fastestdet(truth: Truth) -> Encoded:
    maps = np.zeros((1, 5 + CLASSES, HIGH // 16, WIDE // 16))
    for cx, cy, w, h, label, score in truth:
        column, row = int(cx / 16), int(cy / 16)
        cell = maps[0, :, row, column]
        cell[:5] = [1.0, np.arctanh(cx / 16 - column), np.arctanh(cy / 16 - row), logit(w / WIDE), logit(h / HIGH)]
        cell[5 + label] = score ** (1 / 0.4)
    return [maps], {}


SSD = {"strides": (8, 16, 32), "sizes": (24.0, 48.0, 72.0, 96.0), "ratios": (1, 2, 1)}


def ssd(truth: Truth) -> Encoded:
    """Each box on the prior that it overlaps most, by variances 0.1 and 0.2; the rest are background."""
    priors = ssd_priors(HIGH, WIDE, SSD["strides"], SSD["sizes"], SSD["ratios"])
    offsets, scores = np.zeros((len(priors), 4)), np.tile([40.0, 0.0, 0.0, 0.0], (len(priors), 1))
    for cx, cy, w, h, label, score in truth:
        apart = (
            np.abs(priors[:, 0] - cx) + np.abs(priors[:, 1] - cy) + np.abs(np.log(priors[:, 2:] / [w, h])).sum(1) * 8
        )
        best = int(apart.argmin())
        px, py, pw, ph = priors[best]
        offsets[best] = [(cx - px) / pw / 0.1, (cy - py) / ph / 0.1, np.log(w / pw) / 0.2, np.log(h / ph) / 0.2]
        scores[best] = -40.0
        scores[best, [0, 1 + label]] = [np.log(1 - score), np.log(score)]
    return [offsets[None], scores[None]], {**SSD, "logits": True}


def rows_of(truth: Truth) -> Any:
    return np.array(
        [[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score, label] for cx, cy, w, h, label, score in truth]
    )


def yolov10(truth: Truth) -> Encoded:
    return [rows_of(truth)[None]], {}


def tensorflow(truth: Truth) -> Encoded:
    """As `tf.image.combined_non_max_suppression` writes it: y before x, of the picture's sides, padded to a count."""
    rows = rows_of(truth)
    boxes = np.zeros((1, 20, 4))
    boxes[0, : len(rows)] = rows[:, [1, 0, 3, 2]] / [HIGH, WIDE, HIGH, WIDE]
    scores, labels = np.zeros((1, 20)), np.zeros((1, 20))
    scores[0, : len(rows)], labels[0, : len(rows)] = rows[:, 4], rows[:, 5] + 1
    said = {"corners": "yxyx", "fractions": True, "background": True}
    return [boxes, scores, labels, np.array([float(len(rows))])], said


def yolov7_end2end(truth: Truth) -> Encoded:
    """As its export with NonMaxSuppression writes it: the picture's number, the box, its class, its score."""
    rows = rows_of(truth)
    return [np.hstack((np.zeros((len(rows), 1)), rows[:, :4], rows[:, 5:], rows[:, 4:5]))], {}


def detr(truth: Truth) -> Encoded:
    """As DETR and its kin are trained: centres and sides as fractions, logits of a sigmoid, no background; queries that
    find nothing score low for every class."""
    boxes, scores = np.full((1, 30, 4), 0.5), np.full((1, 30, CLASSES), -9.0)
    for at, (cx, cy, w, h, label, score) in enumerate(truth):
        boxes[0, 2 * at] = [cx / WIDE, cy / HIGH, w / WIDE, h / HIGH]
        scores[0, 2 * at, label] = logit(score)
    return [boxes, scores], {"corners": "cxcywh", "fractions": True, "background": False, "logits": True}


HEADS: dict[str, tuple[str, Callable[[Truth], Encoded]]] = {
    "yolov5": ("yolov5", yolov5),
    "yolov7": ("yolov7", lambda truth: yolov5(truth, V7)),
    "yolox": ("yolox", yolox),
    "nanodet plus": ("nanodet", nanodet),
    "nanodet": ("nanodet", lambda truth: nanodet(truth, (8, 16, 32), 0.5)),
    "picodet": ("nanodet", lambda truth: nanodet(truth, (8, 16, 32, 64), 0.5)),
    "fastestdet": ("fastestdet", fastestdet),
    "ssd": ("ssd", ssd),
    "yolov10": ("boxes", yolov10),
    "tensorflow": ("boxes", tensorflow),
    "yolov7 end2end": ("boxes", yolov7_end2end),
    "detr": ("ssd", detr),
}


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("seed", range(4))
def test_what_was_encoded_is_decoded(case: str, seed: int) -> None:
    name, encode = HEADS[case]
    truth = known(seed)
    arrays, said = encode(truth)
    head, classes = suited(name, [array.shape for array in arrays], HIGH, WIDE, **said)
    assert classes in (CLASSES, None)
    found = detections(head, arrays, HIGH, WIDE, confidence=0.1, overlap=0.9, most=300)
    wanted = rows_of(truth)
    np.testing.assert_array_equal(found.classes, wanted[:, 5])
    np.testing.assert_allclose(found.scores, wanted[:, 4], atol=1e-9)
    np.testing.assert_allclose(found.boxes, wanted[:, :4], atol=1e-6)


def test_maps_in_either_layout_say_the_same() -> None:
    """As exported with each anchor's map apart, as the convolutions write them, and with the channels last."""
    maps, said = yolov5(known())
    apart = [each.transpose(0, 1, 4, 2, 3).reshape(1, -1, *each.shape[2:4]) for each in maps]
    last = [each.transpose(0, 2, 3, 1) for each in apart]
    head, _ = suited("yolov5", [each.shape for each in maps], HIGH, WIDE, **said)
    one, *others = (
        detections(head, arrays, HIGH, WIDE, confidence=0.1, overlap=0.9, most=300) for arrays in (maps, apart, last)
    )
    for other in others:
        np.testing.assert_array_equal(one.boxes, other.boxes)


# What torchvision 0.29's DefaultBoxGenerator makes for SSD300 (scales 0.07 to 1.05, aspect ratios 2 and 3, steps 8 to
# 300): number of the prior, then its corners. It clips sides alone, so priors whose centre lies outside differ.
TORCHVISION = {
    0: (-6.5, -6.5, 14.5, 14.5),
    1: (-11.3704, -11.3704, 19.3704, 19.3704),
    2: (-10.8492, -3.4246, 18.8492, 11.4246),
    3: (-3.4246, -10.8492, 11.4246, 18.8492),
    5776: (-14.5, -14.5, 30.5, 30.5),
    5777: (-25.3729, -25.3729, 41.3729, 41.3729),
    5780: (-30.9711, -4.9904, 46.9711, 20.9904),
    5781: (-4.9904, -30.9711, 20.9904, 46.9711),
}


def test_priors_are_those_of_torchvision() -> None:
    sizes = (21.0, 45.0, 99.0, 153.0, 207.0, 261.0, 315.0)
    priors = ssd_priors(300, 300, (8, 16, 32, 64, 100, 300), sizes, (1, 2, 2, 2, 1, 1))
    assert len(priors) == 8732
    for at, wanted in TORCHVISION.items():
        cx, cy, w, h = priors[at]
        np.testing.assert_allclose((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), wanted, atol=1e-4)
