"""Heads from end to end: recipes read what detectors give, refuse what they do not, and a bundle scores alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import graph_of
from onnx import ModelProto, helper
from test_bundle import run
from test_evaluate import LABELS, compiled, write, yolo_data

import qdsl
from qdsl.cli import main
from qdsl.diag import Diagnostic, QdslError
from qdsl.harness import FLOAT, Key

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).resolve().parent.parent


def model_of(outputs: Mapping[str, Array], size: int = 8, squash: str = "") -> ModelProto:
    """A detector with these outputs, whatever the pixels; `squash` is the operator that each goes through last."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["c"], ["m"], name="mean1", keepdims=0),
        helper.make_node("Mul", ["m", "zero"], ["z"], name="none1"),
    ]
    constants: dict[str, Array] = {"w": np.ones((4, 3, 1, 1), np.float32), "zero": np.array(0, np.float32)}
    for name, values in outputs.items():
        constants[f"{name}_rows"] = values.astype(np.float32)
        last = f"{name}_open" if squash else name
        nodes.append(helper.make_node("Add", ["z", f"{name}_rows"], [last], name=f"add_{name}"))
        nodes += [helper.make_node(squash, [last], [name], name=f"squash_{name}")] if squash else []
    return graph_of(nodes, list(outputs), shape=(1, 3, size, size), constants=constants)


# The left half of every picture, 16 x 8 stretched to 8 x 8, is a person with score 0.9: right in the first of LABELS.
TF = {
    "detection_boxes": np.array([[[0, 0, 1, 0.5], [0, 0, 0, 0]]]),
    "detection_classes": np.array([[1, 1]]),
    "detection_scores": np.array([[0.9, 0.3]]),
    "num_detections": np.array([1]),
}
SSD = {"scores": np.array([[[0.1, 0.9, 0.0]]]), "boxes": np.array([[[0, 0, 0.5, 1]]])}
FASTESTDET = np.zeros((1, 7, 1, 2))
FASTESTDET[0, :, 0, 0] = [0.9, 0.5493, 0.5493, -9, -9, 0.9, 0.1]
NANODET = np.zeros((1, 4 + 1, 2 + 32))
NANODET[0, 0] = [0.9, 0, *[0] * 32]
YOLOV5 = np.zeros((1, 3 * (4 + 1), 7))
YOLOV5[0, 2] = [2, 4, 4, 8, 0.9, 1, 0]
FEW = np.zeros((1, 4 + 2, 3))
FEW[0, :, 1] = [2, 4, 4, 8, 0.9, 0]
HEADS: dict[str, tuple[Mapping[str, Array], str]] = {
    "tensorflow": (TF, "decode boxes; corners yxyx; units fractions; background first"),
    "ssd": (SSD, "decode ssd; scores probabilities"),
    "yolov5": ({"y": YOLOV5}, "decode yolov5; strides [4, 8]; anchors [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]"),
    "fewer boxes than classes": ({"y": FEW}, "decode yolov8"),
    "rows": ({"y": np.array([[[0, 0, 4, 8, 0.9, 0], [0, 0, 0, 0, 0, 0]]])}, "decode boxes"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_scored_here_and_in_its_bundle(name: str, tmp_path: Path) -> None:
    outputs, words = HEADS[name]
    data = yolo_data(tmp_path, LABELS[:1])
    result = compiled(write(tmp_path, model_of(outputs), f"detection on val {{ {words} }}", data))
    found, _ = run(result.targets[0].emitted.directory / "bench")
    for build in (FLOAT, "ort"):
        scores = result.evaluations[0].of(build).scores
        assert scores[Key("map50", "person")] == pytest.approx(1.0), (name, build)
        for metric in ("map50", "map50_95", "precision", "recall"):
            assert found["scores"][build][metric] == pytest.approx(scores[Key(metric)], abs=1e-6)
    stored = json.loads((result.targets[0].emitted.directory / "bench" / "bundle.json").read_text())
    assert stored["task"]["head"]["name"] == words.split(";")[0].split()[1]


def refused(path: Path) -> tuple[Diagnostic, ...]:
    """What `plan` refuses, before a byte of data is read."""
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    assert not path.with_suffix(".lock").exists()
    return caught.value.diagnostics


WRONG: list[tuple[Mapping[str, Array], str, str, str]] = [
    ({"y": np.zeros((1, 6, 84))}, "decode fastestdet", "evaluate-shape", "its outputs look like `decode yolov8`"),
    ({"y": np.zeros((1, 84, 7))}, "decode boxes", "evaluate-shape", "its outputs look like `decode yolox`"),
    ({"y": np.zeros((1, 252, 7))}, "decode yolox", "evaluate-shape", "its outputs look like `decode yolov5`"),
    ({"y": np.zeros((1, 85, 34))}, "decode yolox", "evaluate-shape", "its outputs look like `decode nanodet`"),
    ({"y": np.zeros((1, 9, 100))}, "decode yolov8", "evaluate-classes", "classes"),
    ({"y": np.zeros((1, 9, 8))}, "nms 0.5", "evaluate-shape", "write one of `decode yolov8`"),
    ({"a": np.zeros((1, 9, 4)), "b": np.zeros((1, 9, 3))}, "nms 0.5", "evaluate-shape", "look like `decode ssd`"),
    ({"y": np.zeros((1, 6, 84))}, "decode yolov8; reg_max 7", "setting-unused", "no settings of a head"),
    ({"y": np.zeros((1, 6, 84))}, 'decode yolov8; output "z"', "evaluate-output", "it has `y`"),
    ({"a": np.zeros((1, 9, 4)), "b": np.zeros((1, 9, 4))}, "decode ssd", "evaluate-output", 'write `output "boxes"'),
    ({"y": np.zeros((4, 6, 84))}, "decode yolov8", "evaluate-shape", "output"),
]


@pytest.mark.parametrize(("outputs", "words", "code", "cure"), WRONG)
@pytest.mark.parametrize("there", [True, False], ids=["with data", "without"])
def test_what_shapes_decide_is_told_by_plan(
    outputs: Mapping[str, Array], words: str, code: str, cure: str, there: bool, tmp_path: Path
) -> None:
    data = yolo_data(tmp_path, LABELS) if there else 'yolo "val.yaml" { split val; classes ["person", "dog"] }'
    (found,) = refused(
        write(tmp_path, model_of(outputs, 64), f"detection on val {{ {words} }}", data, "resize 64 stretch")
    )
    assert found.code == code and cure in " ".join(found.help), found
    assert found.span is not None


def test_a_model_for_several_pictures_at_once_is_told_by_plan(tmp_path: Path) -> None:
    model = model_of({"y": np.zeros((4, 6, 84))}, 64)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    data = yolo_data(tmp_path, LABELS)
    found = refused(write(tmp_path, model, "detection on val { decode yolov8 }", data, "resize 64 stretch"))
    assert {each.code for each in found} == {"input-shape", "evaluate-shape"}
    assert any("export the model with batch 1 instead of 4" in " ".join(each.help) for each in found)


@pytest.mark.slow
def test_scores_are_what_the_graph_makes_them(tmp_path: Path) -> None:
    """Logits where no sigmoid stands at the end: both models find the same."""
    shares = np.array([[[0.9, 0.05], [0.2, 0.1]]])
    found = []
    for squash in ("", "Sigmoid"):
        folder = tmp_path / (squash or "open")
        folder.mkdir()
        logits = {"scores": np.log(shares / (1 - shares)), "boxes": np.zeros((1, 2, 4))}
        model = model_of(logits, squash=squash)
        path = write(folder, model, "detection on val { decode ssd; background none }", yolo_data(folder, LABELS))
        found.append(compiled(path).evaluations[0].of(FLOAT).confidences)
    assert found[0] == pytest.approx(found[1], rel=1e-5) and max(found[0]) == pytest.approx(0.9, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("logits", [True, False])
def test_a_sigmoid_behind_the_boxes_says_nothing_of_the_scores(tmp_path: Path, logits: bool) -> None:
    """DETR's boxes are fractions by a Sigmoid, its scores logits."""
    score = np.log(0.9 / 0.1) if logits else 0.9
    model = model_of({"pred_logits": np.array([[[score, -9.0 * logits]]]), "pred_boxes": np.zeros((1, 1, 4))})
    last = next(node for node in model.graph.node if "pred_boxes" in node.output)
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Sigmoid", ["before"], ["pred_boxes"], name="squash"))
    words = "decode ssd; corners cxcywh; background none" + ("" if logits else "; scores probabilities")
    path = write(tmp_path, model, f"detection on val {{ {words} }}", yolo_data(tmp_path, LABELS))
    found = compiled(path).evaluations[0].of(FLOAT).confidences
    assert max(found) == pytest.approx(0.9, rel=1e-5)


OWN = """import numpy as np

def table(outputs, height, width):
    assert (height, width) == (8, 8)
    return outputs["y"][0][:, :4], outputs["y"][0][:, 4:]

def final(outputs, height, width):
    return np.array([[0, 0, 4, 8]]), np.array([0.9]), np.array([0])

def broken(outputs, height, width):
    return outputs["x"]

def wide(outputs, height, width):
    return np.zeros((1, 5)), np.zeros((1, 2))

def leaves(outputs, height, width):
    raise SystemExit(7)

def three(outputs, height, width):
    return np.zeros((1, 4)), np.zeros((1, 3))

word = 3
"""


def own(folder: Path, function: str) -> Path:
    (folder / "own_head.py").write_text(OWN)
    rows = np.array([[[0, 0, 4, 8, 0.9, 0.1]]])
    words = f'detection on val {{ decode python "own_head:{function}" }}'
    return write(folder, model_of({"y": rows}), words, yolo_data(folder, LABELS[:1]))


@pytest.mark.slow
@pytest.mark.parametrize("function", ["table", "final"])
def test_a_recipe_may_bring_its_own_decoding(function: str, tmp_path: Path) -> None:
    path = own(tmp_path, function)
    result = qdsl.compile(path, out=tmp_path / "build", lock=False, allow_python=True)
    assert result.evaluations[0].of("ort").scores[Key("map50", "person")] == pytest.approx(1.0)
    bundle = json.loads((result.targets[0].emitted.directory / "bench" / "bundle.json").read_text())
    assert bundle["task"] is None, "a device has none of that code"
    assert main(["evaluate", str(path), "--out", str(tmp_path / "build"), "--allow-python"]) == 0


def test_code_runs_only_where_it_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own(tmp_path, "table")
    (tmp_path / "own_head.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    for words in (["check", str(path)], ["plan", str(path)]):
        assert main(words) == 0
    assert main(["compile", str(path), "--out", str(tmp_path / "build"), "--no-lock"]) == 1
    told = capsys.readouterr().err
    assert "error[python-refused]" in told and "add `--allow-python`" in told
    assert not Path("ran").exists() and not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("nowhere", "cannot be imported: AttributeError"),
        ("word", "is no function"),
        ("broken", "failed: KeyError"),
        ("wide", "what `decode python` returns cannot be read: boxes have shape [1, 5]"),
        ("leaves", "failed: SystemExit: 7"),
        ("three", "what `decode python` returns has 3 classes"),
    ],
)
def test_own_decoding_that_does_not_work(function: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.compile(own(tmp_path, function), out=tmp_path / "build", lock=False, allow_python=True)
    (found,) = caught.value.diagnostics
    assert told in found.headline and found.span is not None


@pytest.mark.slow
def test_fastestdet_on_real_pictures(testdata: Path, tmp_path: Path) -> None:
    """0.25 to 0.26, by how much boxes may overlap, with other code on the same pictures."""
    recipe = ROOT / "tests" / "recipes" / "fastestdet.q"
    (evaluation,) = qdsl.compile(recipe, out=tmp_path, lock=False).evaluations
    assert evaluation.of(FLOAT).scores[Key("map50_95")] == pytest.approx(0.255, abs=0.01)
