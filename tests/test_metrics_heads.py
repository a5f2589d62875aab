"""Detection heads: decoded like their authors' code, whatever form their outputs have, and told apart by shapes."""

from __future__ import annotations

import json
from typing import Any

import head_reference as plain
import numpy as np
import pytest

from qdsl.metrics import heads
from qdsl.metrics.decoding import KINDS, Head, detections, resembling, suited
from qdsl.metrics.grids import sizes_of

CLASSES = 3
HIGH, WIDE = 64, 96
EVERYTHING = {"confidence": 0.0, "overlap": 1.0, "most": 10**6}


def drawn(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def boxes_of(name: str, arrays: list[np.ndarray[Any, Any]], size: tuple[int, int] = (HIGH, WIDE), **said: Any) -> Any:
    """(boxes, scores) that a head gives for outputs, and the number of classes that their shapes say."""
    head, classes = suited(name, [array.shape for array in arrays], *size, **said)
    decode = KINDS[name].boxes
    assert decode is not None
    return decode(head, arrays, *size), classes


def same(got: tuple[Any, Any], wanted: tuple[Any, Any]) -> None:
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("form", ["apart", "first", "last", "rows"])
@pytest.mark.parametrize("name", ["yolov5", "yolov7"])
def test_maps_of_a_head_with_anchors(name: str, form: str) -> None:
    head = KINDS[name].default
    anchors = np.reshape(head.anchors, (3, 3, 2))
    maps = [drawn(at, 3, high, wide, 5 + CLASSES) for at, (high, wide) in enumerate(sizes_of(HIGH, WIDE, head.strides))]
    wanted = plain.table(plain.yolov5(maps, head.strides, [[tuple(pair) for pair in grid] for grid in anchors]))
    forms = {
        "apart": lambda m: m,
        "first": lambda m: m.transpose(0, 3, 1, 2).reshape(-1, *m.shape[1:3]),
        "last": lambda m: m.transpose(1, 2, 0, 3).reshape(*m.shape[1:3], -1),
        "rows": lambda m: m.reshape(-1, m.shape[-1]),
    }
    given = [forms[form](each)[None] for each in maps]
    got, classes = boxes_of(name, given[::-1])  # whatever the order of the outputs
    assert classes == CLASSES
    same(got, wanted)
    probable = [np.asarray(1 / (1 + np.exp(-each.astype(np.float64)))) for each in given]
    same(boxes_of(name, probable, logits=False)[0], wanted)


def test_other_anchors_and_strides_may_be_given() -> None:
    maps = [drawn(at, 2, high, wide, 6) for at, (high, wide) in enumerate(sizes_of(32, 32, (4, 8)))]
    anchors = [[(3.0, 5.0), (7.0, 2.0)], [(11.0, 13.0), (20.0, 9.0)]]
    flat = tuple(side for grid in anchors for pair in grid for side in pair)
    got, _ = boxes_of("yolov5", [m[None] for m in maps], (32, 32), strides=(4, 8), anchors=flat)
    same(got, plain.table(plain.yolov5(maps, (4, 8), anchors)))
    with pytest.raises(ValueError, match="6 numbers of `anchors` are no widths and heights for 2 strides"):
        suited("yolov5", [m[None].shape for m in maps], 32, 32, strides=(4, 8), anchors=(1.0,) * 6)


def test_a_head_with_anchors_that_the_graph_decodes() -> None:
    """[1, 25200, 85] at 640 x 640: centre, size, probability of an object, of each class given one."""
    rows = np.zeros((1, 25200, 85), np.float32)
    rows[0, 7] = [100, 60, 40, 20, 0.5, *([0.0] * 79), 0.5]
    ((boxes, scores), classes) = boxes_of("yolov5", [rows], (640, 640))
    assert classes == 80 and boxes[7].tolist() == [80, 50, 120, 70] and scores[7, 79] == 0.25
    with pytest.raises(ValueError, match=r"expected \[1, 25200, 5 \+ classes\]"):
        suited("yolov5", [(1, 8400, 85)], 640, 640)


NANODETS = [((8, 16, 32, 64), 0.0, 7), ((8, 16, 32), 0.5, 7), ((8, 16), 0.25, 10)]


@pytest.mark.parametrize(("strides", "offset", "reg_max"), NANODETS)
@pytest.mark.parametrize("form", ["one", "rows", "maps", "logits"])
def test_nanodet(strides: tuple[int, ...], offset: float, reg_max: int, form: str) -> None:
    """The offset follows from the number of grids where it is not given."""
    grids = [(*size, stride) for size, stride in zip(sizes_of(HIGH, WIDE, strides), strides, strict=True)]
    logits = [drawn(at, high * wide, CLASSES) for at, (high, wide, _) in enumerate(grids)]
    scores = [1 / (1 + np.exp(-each.astype(np.float64))) for each in logits]
    reach = [3 * drawn(9 + at, high * wide, 4 * (reg_max + 1)) for at, (high, wide, _) in enumerate(grids)]
    wanted = plain.table(plain.nanodet(scores, reach, grids, reg_max, offset))
    usual = len(strides) > 2
    said: dict[str, Any] = {} if usual else {"strides": strides, "reg_max": reg_max, "offset": offset}
    if form == "one":
        given = [np.hstack((np.concatenate(scores), np.concatenate(reach)))[None]]
    elif form == "maps":
        pairs = [*zip(scores, grids, strict=True), *zip(reach, grids, strict=True)]
        given = [rows.T.reshape(1, -1, high, wide) for rows, (high, wide, _) in pairs]
    else:
        given = [each[None] for each in (*(logits if form == "logits" else scores), *reach)]
        said |= {"logits": form == "logits"}
    got, classes = boxes_of("nanodet", given, **said)
    assert classes == CLASSES
    same(got, wanted)


def test_nanodet_with_as_many_classes_as_numbers_of_a_distance() -> None:
    """32 of either: the first output of a grid is that of the scores."""
    grids = [(8, 12, 8), (4, 6, 16), (2, 3, 32)]
    scores = [np.abs(drawn(at, high * wide, 32)) for at, (high, wide, _) in enumerate(grids)]
    reach = [drawn(9 + at, high * wide, 32) for at, (high, wide, _) in enumerate(grids)]
    got, _ = boxes_of("nanodet", [each[None] for each in (*scores, *reach)])
    same(got, plain.table(plain.nanodet(scores, reach, grids, 7, 0.5)))


def test_fastestdet() -> None:
    maps = drawn(1, 5 + CLASSES, HIGH // 16, WIDE // 16)
    maps[0] = 1 / (1 + np.exp(-maps[0]))
    maps[5:] = np.exp(maps[5:]) / np.exp(maps[5:]).sum(0)
    got, classes = boxes_of("fastestdet", [maps[None]])
    assert classes == CLASSES
    same(got, plain.table(plain.fastestdet(maps, WIDE, HIGH)))


SSD300 = {
    "maps": (38, 19, 10, 5, 3, 1),
    "steps": (8, 16, 32, 64, 100, 300),
    "least": (30, 60, 111, 162, 213, 264),
    "most": (60, 111, 162, 213, 264, 315),
    "ratios": ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
}


def test_ssd_with_priors() -> None:
    priors = plain.ssd_priors(300, **SSD300)  # type: ignore[arg-type]
    assert len(priors) == 8732
    offsets, logits = drawn(3, 8732, 4), drawn(4, 8732, CLASSES + 1)
    given = [offsets[None], logits[None]]  # of two that could be either, boxes come first
    said: dict[str, Any] = {"sizes": (30, 60, 111, 162, 213, 264, 315), "logits": True}
    (boxes, scores), classes = boxes_of("ssd", given, (300, 300), **said)
    assert classes == CLASSES
    np.testing.assert_allclose(boxes, np.array(plain.ssd_boxes(offsets, priors)) * 300, rtol=1e-6, atol=1e-6)
    raised = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(scores, (raised / raised.sum(1, keepdims=True))[:, 1:], rtol=1e-6)
    with pytest.raises(ValueError, match="make 8732 priors"):
        suited("ssd", [(1, 3000, 4), (1, 3000, 4)], 300, 300, **said)
    with pytest.raises(ValueError, match="6 `strides` take as many `ratios` and one more of `sizes`"):
        suited("ssd", [(1, 3000, 4), (1, 3000, 4)], 300, 300, sizes=(30, 60))


def test_ssd_on_ten_grids_of_one_kind() -> None:
    """The six grids of MobileNet-SSD, every cell with six boxes."""
    head, classes = suited(
        "ssd",
        [(1, 3000, 21), (1, 3000, 4)],
        300,
        300,
        strides=(16, 32, 64, 100, 150, 300),
        ratios=(2,) * 6,
        sizes=(60, 105, 150, 195, 240, 285, 330),
    )
    assert classes == 20
    assert len(heads.ssd_priors(300, 300, head.strides, head.sizes, head.ratios)) == 3000


def test_ssd_that_the_graph_decodes() -> None:
    rows = np.array([[[0.25, 0.5, 0.5, 0.75], [0.5, 0.5, 0.25, 0.25]]], np.float32)
    scores = np.array([[[0.1, 0.9], [0.75, 0.25]]], np.float32)
    (boxes, kept), classes = boxes_of("ssd", [scores, rows])
    assert classes == 1 and kept[:, 0].tolist() == pytest.approx([0.9, 0.25])
    assert boxes.tolist() == [[24, 32, 48, 48], [48, 32, 48, 32]], "a box inside out is empty"
    yxyx, _ = boxes_of("ssd", [rows, scores], corners="yxyx", background=False)
    assert yxyx[0][0].tolist() == [48, 16, 72, 32] and yxyx[1].shape == (2, 2)
    centred, _ = boxes_of("ssd", [rows, scores], corners="cxcywh", fractions=False)
    assert centred[0][0].tolist() == [0, 0.125, 0.5, 0.875]


BOXES = np.array([[2, 3, 12, 13], [5, 6, 25, 36], [0, 0, 0, 0]], np.float32)
SCORES, LABELS = np.array([0.9, 0.5, 0.0], np.float32), np.array([1, 2, 0])


@pytest.mark.parametrize(
    "outputs",
    [
        [np.hstack((BOXES, SCORES[:, None], LABELS[:, None]))[None]],
        [np.hstack((np.zeros((3, 1)), BOXES, LABELS[:, None], SCORES[:, None]))],
        [BOXES[None], SCORES[None], LABELS[None]],
        [BOXES, SCORES, LABELS],
        [BOXES[None], SCORES[None], LABELS[None].astype(np.float32), np.array([2], np.float32)],
    ],
    ids=["rows of 6", "rows of 7", "three", "three without a batch", "with a count"],
)
def test_boxes_that_the_graph_has_suppressed(outputs: list[np.ndarray[Any, Any]]) -> None:
    head, classes = suited("boxes", [output.shape for output in outputs], HIGH, WIDE)
    assert classes is None
    found = detections(head, outputs, HIGH, WIDE, confidence=0.01, overlap=0.7, most=300)
    assert found.boxes.tolist() == BOXES[:2].tolist() and found.classes.tolist() == [1, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])


def test_a_count_cuts_what_is_padding() -> None:
    outputs = [BOXES[None], SCORES[None], LABELS[None], np.array([1])]
    head, _ = suited("boxes", [output.shape for output in outputs], HIGH, WIDE)
    assert detections(head, outputs, HIGH, WIDE, **EVERYTHING).classes.tolist() == [1]


def test_boxes_as_tensorflow_writes_them() -> None:
    """Fractions, y before x, and classes from 1."""
    rows = BOXES[:2, [1, 0, 3, 2]] / np.array([HIGH, WIDE, HIGH, WIDE], np.float32)
    head, _ = suited("boxes", [(1, 2, 4), (1, 2), (1, 2)], HIGH, WIDE, corners="yxyx", fractions=True, background=True)
    found = detections(head, [rows[None], SCORES[None, :2], LABELS[None, :2]], HIGH, WIDE, **EVERYTHING)
    np.testing.assert_allclose(found.boxes, BOXES[:2], rtol=1e-6)
    assert found.classes.tolist() == [0, 1]


@pytest.mark.parametrize("name", KINDS)
def test_a_head_survives_json(name: str) -> None:
    head = KINDS[name].default
    assert Head.of(json.loads(json.dumps(head.stored()))) == head


SHAPES: list[tuple[str, list[tuple[int, ...]], tuple[int, int]]] = [
    ("yolov8", [(1, 84, 8400)], (640, 640)),
    ("yolov8", [(1, 84, 64)], (64, 64)),
    ("yolox", [(1, 8400, 85)], (640, 640)),
    ("yolov5", [(1, 25200, 85)], (640, 640)),
    ("yolov5", [(1, 255, 80, 80), (1, 255, 40, 40), (1, 255, 20, 20)], (640, 640)),
    ("yolov5", [(1, 3, 80, 80, 85), (1, 3, 40, 40, 85), (1, 3, 20, 20, 85)], (640, 640)),
    ("nanodet", [(1, 2125, 112)], (320, 320)),
    ("nanodet", [(1, n, c) for c in (80, 32) for n in (1600, 400, 100)], (320, 320)),
    ("fastestdet", [(1, 85, 22, 22)], (352, 352)),
    ("ssd", [(1, 8732, 81), (1, 8732, 4)], (300, 300)),
    ("boxes", [(1, 300, 6)], (640, 640)),
]


@pytest.mark.parametrize(("name", "shapes", "size"), SHAPES)
def test_shapes_tell_heads_apart(name: str, shapes: list[tuple[int, ...]], size: tuple[int, int]) -> None:
    found = resembling(shapes, *size, 80)
    assert found[0] == name
    assert set(found) <= {name, "yolov7"}, found


@pytest.mark.parametrize(("classes", "why"), [(0, "nothing says that it has 80 classes"), (60, r"boxes\]; `yolov8`")])
def test_more_classes_than_boxes_need_to_be_known(classes: int, why: str) -> None:
    head, found = suited("yolov8", [(1, 84, 64)], 64, 64, classes=80)
    assert found == 80
    assert len(detections(head, [np.zeros((1, 84, 64))], 64, 64, **EVERYTHING).scores) == 64 * 80
    with pytest.raises(ValueError, match=why):
        suited("yolov8", [(1, 84, 64)], 64, 64, classes=classes)


@pytest.mark.parametrize("shapes", [[(1, 5)], [(1, 3, 8, 8)], [], [(2, 84, 8400)], [(1, 84, 8400), (1, 2)]])
def test_other_shapes_are_no_head(shapes: list[tuple[int, ...]]) -> None:
    assert resembling(shapes, 640, 640, 80) == ()
