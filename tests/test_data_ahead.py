"""What shapes, types and classes decide of a recipe's data is told by `plan`, before anything is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_setups import conv, save, takes_bytes
from data_cases import bomb, picture
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


def test_no_sample_is_read(tmp_path: Path) -> None:
    """A picture that cannot be decoded, and one that claims too much, are for `compile` to find."""
    save(conv(), tmp_path)
    photos(tmp_path)
    bomb(tmp_path / "photos/a/3.png")
    (tmp_path / "photos/b/4.png").write_bytes(b"no picture")
    assert qdsl.plan(recipe(tmp_path, FOLDER)).plans
    with pytest.raises(QdslError, match="image-"):
        qdsl.compile(tmp_path / "demo.q", out=tmp_path / "build")
    assert not (tmp_path / "demo.lock").exists()
