"""What shapes, types and classes decide of a recipe's data is told by `plan`, before anything is measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_setups import conv, save, takes_bytes
from data_cases import graph_of, picture
from onnx import ModelProto, helper
from test_data_sources import yolo_tree
from test_evaluate import coloured, mean_colour

import qdsl
from qdsl.diag import QdslError

RECIPE = """recipe demo
model onnx "model.onnx"
input {{ {steps} }}
data calib from {data}
quantize static {{ weights int8; activations uint8; calibrate minmax on calib }}
target ort
{evaluate}
"""
FOLDER = 'folder "photos"'
NPZ = 'npz "calib.npz"'


def recipe(folder: Path, data: str, steps: str = "resize 8 stretch", evaluate: str = "") -> Path:
    path = folder / "demo.q"
    path.write_text(RECIPE.format(steps=steps, data=data, evaluate=evaluate))
    return path


def told(path: Path) -> set[str]:
    """What `plan` refuses; `compile` refuses the same, and writes nothing."""
    found = []
    for verb in (qdsl.plan, lambda file: qdsl.compile(file, out=path.parent / "build")):
        with pytest.raises(QdslError) as caught:
            verb(path)
        assert all(each.span is not None for each in caught.value.diagnostics)
        found.append({each.code for each in caught.value.diagnostics})
    assert found[0] == found[1]
    assert not path.with_suffix(".lock").exists() and not (path.parent / "build").exists()
    return found[0]


def photos(folder: Path) -> None:
    for at, name in enumerate(("a/1.png", "b/2.png")):
        picture(folder / "photos" / name, (8, 8), seed=at)


@pytest.mark.parametrize(
    ("channels", "steps", "code"),
    [
        (1, "resize 8 stretch", "input-shape"),
        (1, "", "input-shape"),
        (3, "color gray", "input-shape"),
        (3, "layout nhwc", "input-shape"),
        (3, "resize 9 stretch", "input-shape"),
        (3, "resize 8 stretch; mean [0.5, 0.5]", "input-channels"),
        (1, "color gray; std [1, 1, 1]", "input-channels"),
    ],
)
def test_channels_and_sizes_of_pictures(tmp_path: Path, channels: int, steps: str, code: str) -> None:
    save(conv(inside=channels), tmp_path)
    photos(tmp_path)
    assert told(recipe(tmp_path, FOLDER, steps)) == {code}


def test_arithmetic_for_a_model_of_bytes(tmp_path: Path) -> None:
    takes_bytes(tmp_path)
    photos(tmp_path)
    assert told(recipe(tmp_path, FOLDER, "resize 8 stretch; rescale 1/255")) == {"input-dtype"}


def npz(**arrays: np.ndarray) -> Callable[[Path], object]:  # type: ignore[type-arg]
    return lambda folder: np.savez(folder / "calib.npz", **arrays)


FITS = np.zeros((3, 3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("write", "settings", "steps", "code"),
    [
        (npz(images=np.zeros((3, 3, 9, 8), np.float32)), "", "", "input-shape"),
        (npz(images=np.zeros((3, 3, 8), np.float32)), "", "", "input-shape"),
        (npz(images=np.zeros((3, 9, 8, 3), np.uint8)), "", "", "input-shape"),
        (npz(images=np.zeros((3, 8, 8, 1), np.uint8)), "", "", "input-shape"),
        (npz(images=FITS), "", "resize 8 stretch", "input-not-picture"),
        (npz(images=FITS), "", "mean [1, 2]", "input-channels"),
        (npz(images=FITS, kind=np.zeros(3)), 'label "kind"', "", "npz-array"),
        (npz(images=FITS, kind=np.zeros((3, 2), int)), 'label "kind"', "", "npz-array"),
        (npz(images=FITS, kind=np.zeros(2, int)), 'label "kind"', "", "npz-array"),
        (npz(images=FITS), 'label "kind"', "", "npz-array"),
        (npz(pictures=FITS, more=FITS), "", "", "npz-array"),
        (npz(images=np.array([None])), "", "", "npz-array"),
    ],
)
def test_arrays(tmp_path: Path, write: Callable[[Path], object], settings: str, steps: str, code: str) -> None:
    save(conv(), tmp_path)
    write(tmp_path)
    assert told(recipe(tmp_path, f"{NPZ} {{ {settings} }}", steps)) == {code}


def test_floats_for_a_model_of_bytes(tmp_path: Path) -> None:
    takes_bytes(tmp_path)
    np.savez(tmp_path / "calib.npz", images=FITS)
    assert told(recipe(tmp_path, NPZ, "")) == {"input-dtype"}


def test_every_kind_of_file_among_many_is_looked_at(tmp_path: Path) -> None:
    save(conv(), tmp_path)
    (tmp_path / "calib").mkdir()
    for at, side in enumerate((8, 8, 9)):
        np.savez(tmp_path / f"calib/{at}.npz", images=np.zeros((1, 3, side, 8), np.float32))
    assert told(recipe(tmp_path, 'npz "calib"', "")) == {"input-shape"}
    qdsl.plan(recipe(tmp_path, 'npz "calib" { take 2 }', ""))


def test_classes_of_a_folder_beside_those_of_the_model(tmp_path: Path) -> None:
    save(mean_colour(), tmp_path)
    photos(tmp_path)
    evaluate = "evaluate classification on calib"
    assert told(recipe(tmp_path, FOLDER, evaluate=evaluate)) == {"evaluate-classes"}


def test_a_class_that_is_measured_and_not_there(tmp_path: Path) -> None:
    save(mean_colour(), tmp_path)
    coloured(tmp_path, 1)
    evaluate = 'evaluate classification on calib { measure f1 "rde" }'
    assert told(recipe(tmp_path, FOLDER, evaluate=evaluate)) == {"evaluate-class"}


@pytest.mark.parametrize(
    ("yaml", "code"),
    [("train: [images/train\n", "data-yaml"), ("train: ../away\n", "data-escape"), ("val: images/val\n", "data-split")],
)
def test_descriptions_that_cannot_be_read(tmp_path: Path, yaml: str, code: str) -> None:
    save(conv(), tmp_path)
    yolo_tree(tmp_path, yaml)
    assert told(recipe(tmp_path, 'yolo "people.yaml" { split train }')) == {code}


@pytest.mark.parametrize("data", [FOLDER, NPZ, 'yolo "people.yaml"', 'coco "a.json"', 'csv "a.csv"', 'images "*.png"'])
def test_data_that_is_not_there_leaves_it_open(tmp_path: Path, data: str) -> None:
    save(conv(), tmp_path)
    evaluate = "evaluate fidelity on calib"
    (plan,) = qdsl.plan(recipe(tmp_path, data, "resize 8 stretch", evaluate)).plans
    assert plan.target == "ort"
    with pytest.raises(QdslError):
        qdsl.compile(tmp_path / "demo.q", out=tmp_path / "build")


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("profile latency { batch 4 }", "profile-batch"),
        ("evaluate fidelity on calib { profile latency { batch 2 } }", "profile-batch"),
        ("evaluate fidelity on calib { corrupt { noise } }", "evaluate-corrupt"),
    ],
)
def test_batches_and_changes_that_shapes_rule_out(tmp_path: Path, rest: str, code: str) -> None:
    save(conv(), tmp_path)
    np.savez(tmp_path / "calib.npz", images=FITS)
    path = recipe(tmp_path, NPZ, "", rest)
    if rest.startswith("profile"):
        path.write_text(path.read_text().replace(f"target ort\n{rest}", f"target ort {{ {rest} }}"))
    assert told(path) == {code}


def test_warnings_about_data_are_told_by_plan(tmp_path: Path) -> None:
    save(conv(), tmp_path)
    for at in range(6):
        picture(tmp_path / f"photos/{'ab'[at // 3]}/{at}.png", (8, 8), seed=at)
    picture(tmp_path / "photos/loose.png", (8, 8), seed=9)
    result = qdsl.plan(recipe(tmp_path, f"{FOLDER} {{ take 2 }}"))
    assert {"take-classes", "data-unmatched"} <= {each.code for each in result.diagnostics}


def test_pictures_without_any_label(tmp_path: Path) -> None:
    save(mean_colour(), tmp_path)
    photos(tmp_path)
    evaluate = "evaluate classification on calib { measure top1 }"
    path = recipe(tmp_path, 'images "photos"', evaluate=evaluate)
    assert told(path) == {"evaluate-labels"}
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    (found,) = caught.value.diagnostics
    assert found.notes == ("2 of 2 samples are so",)


def test_boxes_without_any_label_file(tmp_path: Path) -> None:
    save(finder(), tmp_path)
    yolo_tree(tmp_path)
    shutil.rmtree(tmp_path / "labels")
    evaluate = "evaluate detection on calib { decode yolov8; measure map50 }"
    assert told(recipe(tmp_path, 'yolo "people.yaml" { split train }', evaluate=evaluate)) == {"evaluate-labels"}


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "code"), [(6, None), (7, "evaluate-classes"), (4, "evaluate-shape")])
def test_what_only_a_run_shows_is_told_before_anything_is_calibrated(
    tmp_path: Path, channels: int, code: str | None
) -> None:
    """Boxes of two classes, of a graph that leaves the number of its channels open."""
    save(finder(channels, known=False), tmp_path)
    yolo_tree(tmp_path)
    evaluate = "evaluate detection on calib { decode yolov8; measure map50 }"
    path = recipe(tmp_path, 'yolo "people.yaml" { split train }', evaluate=evaluate)
    assert qdsl.plan(path).plans
    if code is None:
        assert qdsl.compile(path, out=tmp_path / "build").evaluations
        return
    with pytest.raises(QdslError) as caught:
        qdsl.compile(path, out=tmp_path / "build")
    assert [each.code for each in caught.value.diagnostics] == [code]
    assert not path.with_suffix(".lock").exists() and not (tmp_path / "build").exists()


def finder(channels: int = 6, *, known: bool = True) -> ModelProto:
    """As YOLOv8 writes boxes: [1, channels, 64]."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["c", "flat"], ["y"], name="flat1"),
    ]
    constants = {"w": np.full((channels, 3, 1, 1), 0.01, np.float32)}
    if known:
        return graph_of(nodes, ["y"], constants={**constants, "flat": np.array([1, channels, 64])})
    nodes[1:1] = [
        helper.make_node("ReduceMax", ["images"], ["top"], name="top1", keepdims=0),
        helper.make_node("Mul", ["top", "none"], ["zero"], name="mul1"),
        helper.make_node("Cast", ["zero"], ["whole"], name="cast1", to=7),
        helper.make_node("Add", ["whole", "sides"], ["flat"], name="add1"),
    ]
    return graph_of(nodes, ["y"], constants={**constants, "none": np.float32(0), "sides": np.array([1, channels, 64])})
