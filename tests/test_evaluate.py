"""`evaluate`: known models on known data give known figures, and budgets are decided by them."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_reference import reference
from conftest import ROOT
from data_cases import graph_of
from onnx import ModelProto, helper
from PIL import Image

import qdsl
from qdsl import metrics
from qdsl.api import CompileResult
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.harness import FLOAT, Key

CHANNELS = ("red", "green", "blue")
RECIPE = """recipe demo
model onnx "model.onnx"
input {{ {steps} }}
data val from {data}
quantize static {{ weights int8; activations uint8; calibrate minmax on val }}
target ort
evaluate {evaluate}
"""


def write(folder: Path, model: ModelProto, evaluate: str, data: str, steps: str = "resize 8 stretch") -> Path:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    path = folder / "demo.q"
    path.write_text(RECIPE.format(steps=steps, data=data, evaluate=evaluate), encoding="utf-8")
    return path


def compiled(path: Path) -> CompileResult:
    return qdsl.compile(path, out=path.parent / "build", lock=False)


def mean_colour(weights: np.ndarray[Any, Any] | None = None) -> ModelProto:
    """images -> conv1 -> mean over pixels -> y [1, classes]: with unit weights, the mean of each channel."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["m"], name="mean1"),
        helper.make_node("Flatten", ["m"], ["y"], name="flat1"),
    ]
    weights = np.eye(3, dtype=np.float32) if weights is None else weights
    return graph_of(nodes, ["y"], constants={"w": weights.reshape(-1, 3, 1, 1).astype(np.float32)})


def coloured(folder: Path, count: int = 8) -> list[tuple[int, int]]:
    """Pictures of one colour in a folder per class, every fourth in the wrong one; (class, brightest channel) of each,
    in path order."""
    draw = np.random.default_rng(4)
    found = []
    for label, name in enumerate(CHANNELS):
        for at in range(count):
            shown = (label + 1) % 3 if at % 4 == 0 else label
            pixels = draw.integers(0, 120, (8, 8, 3), dtype=np.uint8)
            pixels[:, :, shown] += 120
            path = folder / "photos" / name / f"{at}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            found.append((f"{name}/{at}.png", label, shown))
    return [(label, shown) for _, label, shown in sorted(found)]


def test_classification_counts_what_is_right(tmp_path: Path) -> None:
    truth = coloured(tmp_path)
    data = 'folder "photos" { classes ["red", "green", "blue"] }'
    wanted = 'classification on val { measure top1, f1 "red"; require top1 >= 0.7; require top1 drop <= 1 pp }'
    result = compiled(write(tmp_path, mean_colour(), wanted, data))
    (evaluation,) = result.evaluations
    right = sum(label == shown for label, shown in truth) / len(truth)
    red = [(label == 0, shown == 0) for label, shown in truth]
    f1 = 2 * sum(a and b for a, b in red) / sum(a + b for a, b in red)
    for build in (FLOAT, "ort"):
        scores = evaluation.of(build).scores
        assert scores[Key("top1")] == pytest.approx(right) and scores[Key("f1", "red")] == pytest.approx(f1)
        assert np.sum(evaluation.of(build).confusion) == len(truth) == evaluation.samples
    assert evaluation.asked == (Key("top1"), Key("f1", "red"))
    drop = evaluation.of("ort").drops[Key("top1")]
    assert (drop.value, drop.low, drop.high) == (0.0, 0.0, 0.0)
    assert [budget.verdict for budget in result.targets[0].budgets] == ["holds", "holds"]
    assert result.targets[0].budgets[0].value == pytest.approx(right)


def test_labels_may_stand_in_an_npz(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    pictures = draw.random((9, 3, 8, 8), dtype=np.float32)
    best = pictures.mean((2, 3)).argmax(1)
    labels = np.where(np.arange(9) < 3, (best + 1) % 3, best)
    np.savez(tmp_path / "val.npz", images=pictures, kind=labels)
    data = 'npz "val.npz" { array "images" "images"; label "kind" }'
    (evaluation,) = compiled(write(tmp_path, mean_colour(), "classification on val", data, "")).evaluations
    assert evaluation.of(FLOAT).scores[Key("top1")] == pytest.approx(6 / 9)


@pytest.mark.parametrize(("bound", "code"), [("top1 >= 0.99", 4), ("top1 >= 0.5", 0), ("top1 drop <= 1 %", 0)])
def test_a_broken_budget_ends_with_4(bound: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coloured(tmp_path)
    path = write(tmp_path, mean_colour(), f"classification on val {{ require {bound} }}", 'folder "photos"')
    # Folders are classes by name: blue, green, red are channels 2, 1, 0.
    (tmp_path / "model.onnx").write_bytes(mean_colour(np.eye(3)[::-1].copy()).SerializeToString())
    assert main(["compile", str(path), "--out", str(tmp_path / "build"), "--no-lock"]) == code
    shown = capsys.readouterr().out
    assert ("BROKEN" in shown) is (code == 4)
    assert "measured, 24 samples of val" in shown


def boxes_model(rows: np.ndarray[Any, Any]) -> ModelProto:
    """A detector that finds the same boxes in every picture: `rows` [1, ..], whatever the pixels."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["c"], ["m"], name="mean1", keepdims=0),
        helper.make_node("Mul", ["m", "zero"], ["z"], name="none1"),
        helper.make_node("Add", ["z", "rows"], ["y"], name="add1"),
    ]
    weights = {"w": np.ones((4, 3, 1, 1), np.float32), "zero": np.float32(0), "rows": rows.astype(np.float32)}
    return graph_of(nodes, ["y"], constants=weights)


def yolo_data(folder: Path, labels: Sequence[Sequence[tuple[float, ...]]], size: tuple[int, int] = (16, 8)) -> str:
    """Pictures of `size` (width, height) with boxes (class, centre x, y, width, height) as fractions."""
    for at, boxes in enumerate(labels):
        for part in ("images", "labels"):
            (folder / part / "val").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (9 * at, 80, 200)).save(folder / "images" / "val" / f"{at}.png")
        text = "".join(f"{int(box[0])} {' '.join(str(v) for v in box[1:])}\n" for box in boxes)
        (folder / "labels" / "val" / f"{at}.txt").write_text(text)
    (folder / "val.yaml").write_text("path: .\nval: images/val\nnames: [person, dog]\n")
    return 'yolo "val.yaml" { split val }'


LABELS = [[(0, 0.25, 0.5, 0.5, 1.0)], [(0, 0.75, 0.5, 0.5, 1.0), (1, 0.25, 0.5, 0.5, 1.0)], []]


def test_detection_is_pycocotools_through_a_letterbox(tmp_path: Path) -> None:
    # The picture, 16 x 8, lies in rows 2 to 6 of the 8 x 8 input: its left half is (0, 2) to (4, 6) there.
    rows = np.zeros((1, 6, 9))
    rows[0, :4, 0], rows[0, 4:, 0] = (2, 4, 4, 4), (0.9, 0.1)
    rows[0, :4, 1], rows[0, 4:, 1] = (6, 4, 4, 3), (0.6, 0.0)
    data = yolo_data(tmp_path, LABELS)
    wanted = "detection on val { decode yolov8; measure map50, map50_95, fitness }"
    (evaluation,) = compiled(write(tmp_path, boxes_model(rows), wanted, data, "resize 8 letterbox")).evaluations
    found = metrics.Detections(
        np.array([[0, 0, 8, 8], [8, 1, 16, 7], [0, 0, 8, 8]]), np.array([0.9, 0.6, 0.1]), np.array([0, 0, 1])
    )
    truth = []
    for boxes in LABELS:
        corners = [[16 * (x - w / 2), 8 * (y - h / 2), 16 * (x + w / 2), 8 * (y + h / 2)] for _, x, y, w, h in boxes]
        truth.append(metrics.Truth(np.array(corners), np.array([b[0] for b in boxes]), np.zeros(len(boxes), bool)))
    coco = reference([found] * 3, truth)
    for build in (FLOAT, "ort"):
        scores = evaluation.of(build).scores
        assert scores[Key("map50")] == pytest.approx(coco.map50, abs=1e-6)
        assert scores[Key("map50_95")] == pytest.approx(coco.map50_95, abs=1e-6) == scores[Key("fitness")]
        assert 0 < scores[Key("map50_95")] < 1
    drop = evaluation.of("ort").drops[Key("map50_95")]
    assert drop.low <= drop.value <= drop.high


def test_a_model_may_have_its_suppression_inside(tmp_path: Path) -> None:
    rows = np.array([[[0, 2, 4, 6, 0.9, 0], [4, 2, 8, 6, 0.8, 0], [0, 0, 0, 0, 0, 0]]])
    data = yolo_data(tmp_path, LABELS)
    path = write(tmp_path, boxes_model(rows), "detection on val { decode boxes }", data, "resize 8 letterbox")
    scores = compiled(path).evaluations[0].of(FLOAT).scores
    assert scores[Key("recall", "person")] == 1.0 and scores[Key("recall", "dog")] == 0.0


def segmenter() -> ModelProto:
    """The class of a pixel is its brightest channel: scores [1, 3, 8, 8]."""
    node = helper.make_node("Conv", ["images", "w"], ["y"], name="conv1", kernel_shape=[1, 1])
    return graph_of([node], ["y"], constants={"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)})


def masked(folder: Path, wrong: int = 0) -> str:
    """A picture of three colours and its mask: `wrong` pixels of class 0 are labelled 1, a row is labelled 255."""
    mask = np.repeat(np.arange(3), [3, 3, 2])[None].repeat(8, 0)
    pixels = np.full((8, 8, 3), 20, np.uint8)
    np.put_along_axis(pixels, mask[:, :, None], 230, 2)
    label = mask.copy()
    label[:wrong, 0] = 1
    label[7] = 255
    for part, values in (("images", pixels), ("masks", label.astype(np.uint8))):
        (folder / "road" / part).mkdir(parents=True)
        Image.fromarray(values).save(folder / "road" / part / "a.png")
    return 'masks "road" { classes ["red", "green", "blue"]; ignore 255 }'


@pytest.mark.parametrize("wrong", [0, 5])
def test_segmentation_counts_pixels_without_the_ignored(wrong: int, tmp_path: Path) -> None:
    path = write(tmp_path, segmenter(), "segmentation on val { measure miou }", masked(tmp_path, wrong))
    scores = compiled(path).evaluations[0].of("ort").scores
    assert scores[Key("accuracy")] == pytest.approx(1 - wrong / 56)
    assert scores[Key("iou", "red")] == pytest.approx((21 - wrong) / 21)
    assert scores[Key("iou", "green")] == pytest.approx(21 / (21 + wrong))
    assert scores[Key("iou", "blue")] == 1.0


def test_masks_move_with_their_pictures(tmp_path: Path) -> None:
    data = masked(tmp_path)
    for part in ("images", "masks"):
        with Image.open(tmp_path / "road" / part / "a.png") as image:
            image.resize((32, 16), Image.Resampling.NEAREST).save(tmp_path / "road" / part / "a.png")
    path = write(tmp_path, segmenter(), "segmentation on val", data, "resize 8 letterbox")
    scores = compiled(path).evaluations[0].of(FLOAT).scores
    assert scores[Key("accuracy")] == 1.0


def test_fidelity_is_what_verify_finds(tmp_path: Path) -> None:
    coloured(tmp_path, count=1)  # no more pictures than verify looks at
    path = write(tmp_path, mean_colour(), "fidelity on val { require sqnr >= 20 dB }", 'folder "photos"')
    result = compiled(path)
    (evaluation,) = result.evaluations
    (output,) = result.targets[0].verification.outputs
    scores = evaluation.of("ort").scores
    assert output.samples == evaluation.samples == 3
    assert output.sqnr_db is not None and scores[Key("sqnr")] == pytest.approx(output.sqnr_db)
    assert scores[Key("cosine", "y")] == pytest.approx(output.cosine)
    assert evaluation.of(FLOAT).scores[Key("sqnr")] == math.inf
    assert result.targets[0].budgets[0].verdict == "holds" and not evaluation.of("ort").drops


def test_odd_samples_are_those_that_changed_most(tmp_path: Path) -> None:
    coloured(tmp_path, count=4)
    weights = np.array([[1.0, 1e-3, 0], [1e-3, 1, 0], [1, 0, 1]])
    path = write(tmp_path, mean_colour(weights), "classification on val", 'folder "photos"')
    found = compiled(path).evaluations[0].odd
    assert [odd.distance for odd in found] == sorted((odd.distance for odd in found), reverse=True)
    assert all(odd.build == "ort" and odd.sample.endswith(".png") for odd in found)


def test_data_that_is_gone_leaves_budgets_undecided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coloured(tmp_path)
    evaluate = "classification on val { require top1 >= 0.5 }"
    path = write(tmp_path, mean_colour(np.eye(3)[::-1].copy()), evaluate, 'folder "photos"')
    words = ["compile", str(path), "--out", str(tmp_path / "build")]
    assert main(words) == 0
    shutil.rmtree(tmp_path / "photos")
    assert main(words) == 1, "without --locked, data that is not there is an error"
    assert main([*words, "--locked"]) == 0
    told = capsys.readouterr()
    assert "undecided: not measured" in told.out and "evaluate-left-out" in told.err
    assert main([*words, "--locked", "--strict"]) == 4


def test_classes_are_checked_before_a_model_runs(tmp_path: Path) -> None:
    coloured(tmp_path, count=1)
    path = write(tmp_path, mean_colour(), 'classification on val { measure f1 "rad" }', 'folder "photos"')
    with pytest.raises(QdslError) as caught:
        compiled(path)
    (found,) = caught.value.diagnostics
    assert found.code == "evaluate-class" and "`red`" in found.help[0]
    assert not (tmp_path / "build").exists()


def test_json_tells_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coloured(tmp_path)
    path = write(tmp_path, mean_colour(), "classification on val { measure top1 }", 'folder "photos"')
    words = ["compile", str(path), "--out", str(tmp_path / "build"), "--no-lock", "--json"]
    assert main(words) == 0
    (found,) = json.loads(capsys.readouterr().out)["evaluations"]
    ort = found["builds"]["ort"]
    assert found["samples"] == 24 and found["asked"] == ["top1"]
    assert ort["drops"]["top1"]["value"] == found["builds"]["float"]["scores"]["top1"] - ort["scores"]["top1"]
    assert len(ort["confidence_quantiles"]) == 24 and np.sum(ort["confusion"]) == 24
    assert main([*words, "--no-measure"]) == 0
    assert json.loads(capsys.readouterr().out)["evaluations"] == []


def test_measurements_say_which_files_they_speak_of(tmp_path: Path) -> None:
    coloured(tmp_path)
    path = write(
        tmp_path, mean_colour(), "classification on val { measure top1; require size <= 9 KiB }", 'folder "photos"'
    )
    result = compiled(path)
    written = result.directory / "measurements.json"
    found = json.loads(written.read_text(encoding="utf-8"))
    (emitted,) = result.targets[0].emitted.files
    ort = found["builds"]["ort"]
    assert ort["bytes"] == emitted.bytes and ort["files"] == {"model.onnx": emitted.sha256}
    assert [layer["node"] for layer in ort["layers"]] == [f.node for f in result.targets[0].verification.layers] != []
    assert [(budget["text"], budget["verdict"]) for budget in ort["budgets"]] == [("size <= 9 KiB", "holds")]
    model = (tmp_path / "model.onnx").read_bytes()
    assert found["model"]["files"] == {"model.onnx": hashlib.sha256(model).hexdigest()}
    assert found["evaluations"][0]["builds"].keys() == {"float", "ort"}
    qdsl.compile(path, out=tmp_path / "build", lock=False, measure=False)
    assert json.loads(written.read_text(encoding="utf-8"))["evaluations"] == []


@pytest.mark.slow
def test_two_evaluations_of_one_task_decide_each_its_own_budgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The float model is right on half of one dataset and on all of the other."""
    coloured(tmp_path)
    draw = np.random.default_rng(5)
    for name in ("half", "all"):
        for label, colour in enumerate(CHANNELS):
            for at in range(4):
                pixels = draw.integers(0, 120, (8, 8, 3), dtype=np.uint8)
                pixels[:, :, (label + (name == "half" and at % 2)) % 3] += 120
                path = tmp_path / name / colour / f"{at}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    more = "".join(
        f'data {name} from folder "{name}"\n'
        f"evaluate classification on {name} {{ require top1 >= {bound} %; require f1 >= 0.1 }}\n"
        for name, bound in (("half", 40), ("all", 90))
    )
    model = mean_colour(np.eye(3)[::-1].copy())
    path = write(tmp_path, model, "fidelity on val { require sqnr >= 1 dB }\n" + more, 'folder "photos"')
    words = ["compile", str(path), "--out", str(tmp_path / "build")]
    assert main(words) == 0

    def decided() -> dict[str, list[tuple[str, float | None]]]:
        found = json.loads((tmp_path / "build" / "demo" / "measurements.json").read_text(encoding="utf-8"))
        told: dict[str, list[tuple[str, float | None]]] = {}
        for budget in found["builds"]["ort"]["budgets"]:
            told.setdefault(budget["text"], []).append((budget["verdict"], budget["value"]))
        return told

    first = decided()
    assert first["top1 >= 40 %"] == [("holds", 0.5)] and first["top1 >= 90 %"] == [("holds", 1.0)]
    told = capsys.readouterr().out
    assert "12 samples of half" in told and "12 samples of all" in told

    in_target = path.read_text(encoding="utf-8").replace("target ort\n", "target ort { require top1 >= 60 % }\n")
    (tmp_path / "other.q").write_text(in_target.replace("recipe demo", "recipe other"), encoding="utf-8")
    assert main(["compile", str(tmp_path / "other.q"), "--out", str(tmp_path / "build"), "--no-lock"]) == 4
    assert "top1 >= 60 %   50.00 %   BROKEN" in capsys.readouterr().out, "in a target block it has to hold on both"

    # The first one's data gone: its budgets are undecided, not decided by the other's.
    shutil.rmtree(tmp_path / "half")
    assert main([*words, "--locked"]) == 0
    assert decided()["top1 >= 40 %"] == [("undecided", None)] and decided()["top1 >= 90 %"] == [("holds", 1.0)]
    assert "not measured: classification on half" in capsys.readouterr().out


def test_as_many_resamples_are_drawn_as_the_page_says() -> None:
    """Of the source: these tests themselves draw fewer."""
    drawn = re.search(r"^RESAMPLES = (\d+)$", (ROOT / "qdsl/harness/evaluate.py").read_text(encoding="utf-8"), re.M)
    assert drawn and f"{int(drawn[1]):,} draws of the samples" in (ROOT / "docs/evaluate.md").read_text("utf-8")
