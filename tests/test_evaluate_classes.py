"""A model that knows more classes than the data shows: which of them count is said by the recipe, and told by plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from seeds import few_of
from test_bundle import run
from test_evaluate import LABELS, boxes_model, coloured, compiled, masked, mean_colour, segmenter, write, yolo_data
from test_evaluate_heads import model_of

import qdsl
from qdsl.diag import Diagnostic, QdslError
from qdsl.harness import FLOAT, Key
from qdsl.metrics import Detections
from qdsl.metrics.decoding import of_classes

KNOWN = ["bicycle", "dog", "car", "person", "cat"]  # what the model knows: two of them are in the data
PERSON, DOG = KNOWN.index("person"), KNOWN.index("dog")


def of_five(*found: tuple[float, float, float, float, int, float]) -> np.ndarray[Any, Any]:
    """A YOLOv8 output of five classes with boxes (centre x, y, width, height, class, score)."""
    rows = np.zeros((1, 4 + len(KNOWN), 12))
    for at, (x, y, wide, high, label, score) in enumerate(found):
        rows[0, :4, at], rows[0, 4 + label, at] = (x, y, wide, high), score
    return rows


# The left half of a picture is a person; a car over the whole of it and a bicycle count for nothing.
FOUND = of_five((2, 4, 4, 8, PERSON, 0.9), (4, 4, 8, 8, 2, 0.95), (6, 4, 4, 8, 0, 0.8), (2, 4, 4, 8, DOG, 0.3))


def named(model: ModelProto) -> ModelProto:
    """The model as Ultralytics exports it, with the names of its classes."""
    prop = model.metadata_props.add()
    prop.key, prop.value = "names", str(dict(enumerate(KNOWN)))
    return model


def refused(path: Path) -> Diagnostic:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    assert not path.with_suffix(".lock").exists()
    (found,) = caught.value.diagnostics
    return found


def scored(path: Path) -> dict[Key, float]:
    """What the float model scores, here; its bundle finds the same elsewhere."""
    result = compiled(path)
    scores = result.evaluations[0].of(FLOAT).scores
    bundle = result.targets[0].emitted.directory / "bench"
    if (bundle / "bundle.json").exists() and json.loads((bundle / "bundle.json").read_text())["task"]:
        found, _ = run(bundle)
        for metric, value in found["scores"][FLOAT].items():
            assert value == pytest.approx(scores[Key(metric)], abs=1e-6), metric
    return dict(scores)


def test_without_a_word_plan_says_which_line_is_missing(tmp_path: Path) -> None:
    data = yolo_data(tmp_path, LABELS)
    found = refused(write(tmp_path, boxes_model(FOUND), "detection on val { decode yolov8 }", data))
    assert found.code == "evaluate-classes" and 'classes ["person", ..] as [NUMBER, ..]' in found.help[0]
    found = refused(write(tmp_path, named(boxes_model(FOUND)), "detection on val { decode yolov8 }", data))
    assert f'classes ["person", "dog"] as [{PERSON}, {DOG}]' in found.help[0]


@pytest.mark.parametrize("names", ["{0: 'a'", "[1]", "{1: 'person', 0: 'dog'}", "{0: 1}", "x" * 300_000, "(" * 5000])
def test_names_that_cannot_be_read_are_no_names(tmp_path: Path, names: str) -> None:
    model = boxes_model(FOUND)
    prop = model.metadata_props.add()
    prop.key, prop.value = "names", names
    found = refused(write(tmp_path, model, "detection on val { decode yolov8 }", yolo_data(tmp_path, LABELS)))
    assert "as [NUMBER, ..]" in found.help[0]


@pytest.mark.parametrize("numbers", ["[3, 5]", "[3, 99]"])
def test_numbers_past_the_models_last_are_told_by_plan(tmp_path: Path, numbers: str) -> None:
    data = yolo_data(tmp_path, LABELS).replace("}", f'; classes ["person", "dog"] as {numbers} }}')
    found = refused(write(tmp_path, boxes_model(FOUND), "detection on val { decode yolov8 }", data))
    assert found.code == "evaluate-classes" and "the last of the model's classes is 4" in found.help[0]


@pytest.mark.parametrize(
    "classes",
    ['["person"] as [3, 1]', '["person", "dog"] as [3]', '["person", "dog"] as [3, 3]', '["dog", "dog"] as [1, 3]'],
)
def test_names_and_numbers_pair_one_to_one(tmp_path: Path, classes: str) -> None:
    data = yolo_data(tmp_path, LABELS).replace("}", f"; classes {classes} }}")
    assert refused(write(tmp_path, boxes_model(FOUND), "detection on val", data)).code == "setting-value"


@pytest.mark.slow
@pytest.mark.parametrize("head", few_of(["yolov8", "python", "guessed", "boxes"], 2))
def test_boxes_of_other_classes_are_neither_right_nor_wrong(tmp_path: Path, head: str, monkeypatch: Any) -> None:
    """One person per picture, found; with all five classes counting, the car would be a false alarm."""
    labels = [[(0, 0.25, 0.5, 0.5, 1.0)], [(0, 0.25, 0.5, 0.5, 1.0), (1, 0.75, 0.5, 0.5, 1.0)]]
    data = yolo_data(tmp_path, labels).replace("}", f'; classes ["person"] as [{PERSON}] }}')
    model, words, steps = boxes_model(FOUND), "decode yolov8" if head == "yolov8" else "", "resize 8 stretch"
    if head == "guessed":
        rows = np.zeros((1, 4 + len(KNOWN), 84))
        rows[:, :, :12] = FOUND
        rows[:, :4] *= 8
        model, steps = model_of({"y": rows}, 64), "resize 64 stretch"
    if head == "boxes":
        rows = np.array([[[0, 0, 4, 8, 0.9, PERSON], [0, 0, 8, 8, 0.95, 2], [4, 0, 8, 8, 0.8, 0]]])
        model, words = model_of({"y": rows}), "decode boxes"
    if head == "python":
        (tmp_path / "own_decoding.py").write_text(OWN)
        words = 'decode python "own_decoding:boxes"'
    path = write(tmp_path, model, f"detection on val {{ {words}; measure map50 }}".replace("{ ;", "{"), data, steps)
    if head == "python":
        monkeypatch.syspath_prepend(str(tmp_path))
        result = qdsl.compile(path, out=tmp_path / "build", lock=False, allow_python=True)
        scores = dict(result.evaluations[0].of(FLOAT).scores)
        sys.modules.pop("own_decoding", None)
    else:
        scores = scored(path)
    assert scores[Key("map50")] == pytest.approx(1.0) and scores[Key("precision")] == pytest.approx(1.0)
    assert Key("map50", "person") in scores and Key("map50", "dog") not in scores


OWN = """import numpy as np
def boxes(outputs, height, width):
    rows = outputs["y"][0]
    half = rows[2:4] / 2
    return np.concatenate([rows[:2] - half, rows[:2] + half]).T, rows[4:].T
"""


@pytest.mark.slow
def test_the_300_boxes_kept_are_of_the_classes_that_count(tmp_path: Path) -> None:
    """400 boxes of a class that does not count score more than the only one that does."""
    rows = np.zeros((1, 9, 410))
    rows[0, :4] = np.stack([np.arange(410) % 8, np.arange(410) // 8 % 8, np.full(410, 0.1), np.full(410, 0.1)])
    rows[0, 4 + 2] = 0.9
    rows[0, :, 409] = (2, 4, 4, 8, 0, 0, 0, 0.5, 0)
    data = yolo_data(tmp_path, LABELS[:1]).replace("}", f'; classes ["person"] as [{PERSON}] }}')
    assert scored(write(tmp_path, boxes_model(rows), "detection on val { decode yolov8 }", data))[Key("map50")] > 0.99


@pytest.mark.slow
def test_every_picture_stays_and_what_does_not_count_is_said(tmp_path: Path) -> None:
    data = yolo_data(tmp_path, LABELS).replace("}", f'; classes ["dog"] as [{DOG}] }}')
    path = write(tmp_path, boxes_model(FOUND), "detection on val { decode yolov8 }", data)
    result = compiled(path)
    notes = {d.code: d.headline for d in result.diagnostics}
    assert result.evaluations[0].samples == 3
    assert "boxes of `person` do not count" in notes["data-classes"]
    assert f"boxes of the model's classes {DOG} (`dog`)" in notes["evaluate-reads"]


@pytest.mark.slow
def test_a_classifier_is_held_to_the_classes_of_the_data(tmp_path: Path) -> None:
    coloured(tmp_path)
    weights = np.zeros((5, 3), np.float32)
    weights[[4, 0, 2]] = np.eye(3)  # red is class 4, green 0, blue 2
    weights[[1, 3]] = 9  # two classes of no picture, which always score most
    data = 'folder "photos" { classes ["red", "green", "blue"] as [4, 0, 2] }'
    scores = scored(write(tmp_path, mean_colour(weights), "classification on val", data))
    (tmp_path / "plain").mkdir()
    coloured(tmp_path / "plain")
    data = 'folder "photos" { classes ["red", "green", "blue"] }'
    plain = scored(write(tmp_path / "plain", mean_colour(), "classification on val", data))
    assert scores == pytest.approx(plain) and 0.5 < scores[Key("top1")] < 1


@pytest.mark.slow
def test_two_of_a_models_three_classes(tmp_path: Path) -> None:
    coloured(tmp_path)
    data = 'folder "photos" { classes ["blue", "red"] as [2, 0] }'
    scores = scored(write(tmp_path, mean_colour(), "classification on val", data))
    assert Key("f1", "red") in scores and Key("f1", "green") not in scores


@pytest.mark.slow
def test_labels_of_an_npz_have_names_and_numbers(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8, 8, 3), np.uint8)
    for at in range(6):
        pixels[at, :, :, (2, 0)[at % 2]] = 200
    np.savez(tmp_path / "val.npz", images=pixels, kind=np.arange(6) % 2)
    data = 'npz "val.npz" { array "images" "images"; label "kind"; classes ["blue", "red"] as [2, 0] }'
    assert scored(write(tmp_path, mean_colour(), "classification on val", data))[Key("top1")] == 1
    found = refused(write(tmp_path, mean_colour(), "classification on val", data.replace('label "kind"; ', "")))
    assert found.code == "data-setting"


@pytest.mark.parametrize("named", [False, True])
def test_labels_past_the_last_class_are_told_before_anything_is_measured(tmp_path: Path, named: bool) -> None:
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "val.npz", images=pixels, kind=np.array([0, 3, 1]))
    classes = '; classes ["red", "green", "blue"]' if named else ""
    data = f'npz "val.npz" {{ array "images" "images"; label "kind"{classes} }}'
    with pytest.raises(QdslError, match="past the last: there are 3") as caught:
        compiled(write(tmp_path, mean_colour(), "classification on val", data))
    assert [each.code for each in caught.value.diagnostics] == ["evaluate-labels"]
    assert not (tmp_path / "build").exists()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_segmenter_is_held_to_the_classes_of_the_data(tmp_path: Path, layout: str) -> None:
    model = segmenter()
    weights = np.zeros((5, 3), np.float32)
    weights[[4, 0, 2]], weights[[1, 3]] = np.eye(3), 9
    model = mean_colour(weights)
    del model.graph.node[1:]
    model.graph.node[0].output[0] = "y" if layout == "nchw" else "c"
    if layout == "nhwc":
        model.graph.node.add(op_type="Transpose", input=["c"], output=["y"], name="last")
        attribute = model.graph.node[1].attribute.add(name="perm", type=7)
        attribute.ints.extend([0, 2, 3, 1])
    data = masked(tmp_path, 5).replace('"blue"]', '"blue"] as [4, 0, 2]')
    scores = scored(write(tmp_path, model, "segmentation on val", data))
    assert scores[Key("accuracy")] == pytest.approx(1 - 5 / 56)


def test_detections_of_some_classes() -> None:
    found = Detections(np.arange(16.0).reshape(4, 4), np.array([0.4, 0.3, 0.2, 0.1]), np.array([7, 0, 2, 7]))
    kept = of_classes(found, (2, 7))
    assert kept.classes.tolist() == [1, 0, 1] and kept.scores.tolist() == [0.4, 0.2, 0.1]
    assert of_classes(found, ()) is found
    assert len(of_classes(Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)), (3,))) == 0
