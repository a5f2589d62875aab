"""What headers, lists and masks say of pictures before one is decoded: `plan` and `compile` refuse the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_setups import conv, save
from data_cases import bomb, data_spec, graph_of, picture
from onnx import ModelProto, helper
from PIL import Image
from test_data_ahead import FOLDER, finder, photos, recipe, told
from test_data_sources import opened
from test_evaluate import coloured, mean_colour

import qdsl
from qdsl.data import look, spread
from qdsl.diag import QdslError


def test_headers_are_read_and_no_picture_decoded(tmp_path: Path) -> None:
    """What is no picture, claims too much or is empty is told by `plan`; a picture that is cut off has a whole header,
    and is for `compile` to find."""
    save(conv(), tmp_path)
    photos(tmp_path)
    whole = (tmp_path / "photos/a/1.png").read_bytes()
    (tmp_path / "photos/a/5.png").write_bytes(whole[: len(whole) // 2])
    assert qdsl.plan(recipe(tmp_path, FOLDER)).plans
    with pytest.raises(QdslError, match="image-broken"):
        qdsl.compile(tmp_path / "demo.q", out=tmp_path / "build")
    assert not (tmp_path / "demo.lock").exists()
    for name, content in (("a/3.png", b""), ("b/4.png", b"no picture")):
        (tmp_path / "photos" / name).write_bytes(content)
    bomb(tmp_path / "photos/a/6.png")
    shutil.rmtree(tmp_path / "build", ignore_errors=True)
    assert told(recipe(tmp_path, FOLDER)) == {"image-broken", "image-bomb"}


def test_a_broken_picture_of_what_is_evaluated_is_told_before_anything_is_calibrated(tmp_path: Path) -> None:
    save(mean_colour(), tmp_path)
    coloured(tmp_path, 2)
    (tmp_path / "val").mkdir()
    (tmp_path / "val/a.png").write_bytes(b"no picture")
    evaluate = 'data val from images "val"\nevaluate fidelity on val'
    assert told(recipe(tmp_path, FOLDER, evaluate=evaluate)) == {"image-broken"}


@pytest.mark.parametrize(("steps", "code"), [("", "input-shape"), ("crop 8", "input-crop")])
def test_pictures_of_other_sizes(tmp_path: Path, steps: str, code: str) -> None:
    save(conv(), tmp_path)
    photos(tmp_path)
    picture(tmp_path / "photos/b/3.png", (7, 9), seed=5)
    picture(tmp_path / "photos/b/4.png", (6, 9), seed=6)
    path = recipe(tmp_path, FOLDER, steps)
    assert told(path) == {code}
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    notes = caught.value.diagnostics[0].notes
    assert notes == ("b/3.png has 7x9 pixels", "2 of 4 pictures do not fit, of 2 sizes")


def test_a_picture_that_is_drawn_often_is_told_once(tmp_path: Path) -> None:
    save(conv(), tmp_path)
    photos(tmp_path)
    picture(tmp_path / "photos/b/3.png", (7, 9), seed=5)
    path = recipe(tmp_path, f'{FOLDER} {{ oversample "b" 20 }}', "")
    assert told(path) == {"input-shape"}
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    assert caught.value.diagnostics[0].notes == ("b/3.png has 7x9 pixels",)


def test_pictures_of_any_size_where_the_model_takes_them(tmp_path: Path) -> None:
    save(conv("side"), tmp_path)
    photos(tmp_path)
    picture(tmp_path / "photos/b/3.png", (7, 9), seed=5)
    assert qdsl.plan(recipe(tmp_path, FOLDER, "")).plans
    assert qdsl.compile(tmp_path / "demo.q", out=tmp_path / "build", lock=False).targets


def listed_by_table(folder: Path) -> str:
    (folder / "all.csv").write_text("file,label\nphotos/a/1.png,a\nphotos/b/9.png,b\nphotos/b/2.png,b\n")
    return 'csv "all.csv"'


def listed_by_coco(folder: Path) -> str:
    images = [{"id": at, "file_name": name} for at, name in enumerate(("a/1.png", "b/9.png", "b/2.png"))]
    document = {"images": images, "categories": [{"id": 1, "name": "x"}], "annotations": []}
    (folder / "all.json").write_text(json.dumps(document))
    return 'coco ["all.json", "photos"]'


def listed_by_yolo(folder: Path) -> str:
    (folder / "all.yaml").write_text("train: all.txt\nnames: [x]\n")
    (folder / "all.txt").write_text("./photos/a/1.png\n./photos/b/9.png\n./photos/b/2.png\n")
    return 'yolo "all.yaml"'


@pytest.mark.parametrize("listed", [listed_by_table, listed_by_coco, listed_by_yolo])
def test_pictures_that_are_listed_and_not_there(tmp_path: Path, listed: Callable[[Path], str]) -> None:
    """Where none of them is there, the data may be on another machine, and `plan` leaves it open."""
    save(conv(), tmp_path)
    photos(tmp_path)
    path = recipe(tmp_path, listed(tmp_path))
    assert told(path) == {"data-missing"}
    shutil.rmtree(tmp_path / "photos")
    assert qdsl.plan(path).plans
    with pytest.raises(QdslError, match="none of the 3 pictures that dataset calib lists is there"):
        qdsl.compile(path, out=tmp_path / "build")


def test_boxes_whose_pictures_are_elsewhere_leave_it_open(tmp_path: Path) -> None:
    """Without the sizes of the pictures in the description, the boxes need the pictures."""
    save(finder(5), tmp_path)
    image = {"id": 1, "file_name": "a/1.png"}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    document = {"images": [image], "categories": [{"id": 1, "name": "x"}], "annotations": [box]}
    (tmp_path / "all.json").write_text(json.dumps(document))
    evaluate = "evaluate detection on calib { decode yolov8; measure map50 }"
    path = recipe(tmp_path, 'coco ["all.json", "photos"]', evaluate=evaluate)
    assert qdsl.plan(path).plans
    photos(tmp_path)
    assert qdsl.plan(path).plans
    with pytest.raises(QdslError, match="data-missing"):
        (tmp_path / "photos/a/1.png").unlink()
        qdsl.compile(path, out=tmp_path / "build")


def test_of_many_pictures_some_are_looked_at(tmp_path: Path) -> None:
    picture(tmp_path / "photos/0.png")
    rows = [f"photos/{at}.png,x" for at in range(10)]
    (tmp_path / "all.csv").write_text("\n".join(["file,label", *rows]))
    spec = data_spec("csv", tmp_path / "all.csv")
    dataset = opened(spec)
    with pytest.raises(QdslError, match="4 of 5 pictures looked at that dataset calib lists are not there"):
        look(dataset, spec, 5)
    with pytest.raises(QdslError, match="9 of 10 pictures that dataset calib lists are not there"):
        look(dataset, spec)
    assert list(spread(10, 4)) == [0, 2, 5, 7] and list(spread(3, 4)) == [0, 1, 2]
    (tmp_path / "photos/0.png").unlink()
    look(dataset, spec, 5)


@pytest.mark.parametrize(
    ("values", "classes", "cure"),
    [
        ([0, 1, 5], '["red", "green", "blue"]', "ignore 5"),
        ([0, 1, 255], '["red", "green", "blue"]', "ignore 255"),
        ([0, 1, 5, 6, 7, 8], '["red", "green", "blue"]', "ignore 8"),
    ],
)
def test_masks_with_numbers_of_no_class(tmp_path: Path, values: list[int], classes: str, cure: str) -> None:
    save(segmenter(), tmp_path)
    for at in range(3):
        picture(tmp_path / f"road/images/{at}.png", (8, 8), seed=at)
        mask = np.zeros((8, 8), np.uint8)
        mask.flat[: len(values)] = values if at == 2 else 0
        (tmp_path / "road/masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / f"road/masks/{at}.png")
    path = recipe(
        tmp_path, f'masks "road" {{ classes {classes} }}', evaluate="evaluate segmentation on calib { measure miou }"
    )
    assert told(path) == {"evaluate-labels"}
    with pytest.raises(QdslError, match=r"the mask of 2\.png holds") as caught:
        qdsl.plan(path)
    assert cure in caught.value.diagnostics[0].help[0]
    path.write_text(path.read_text().replace(classes, f"{classes}; ignore {values[-1]}"))
    if len(values) == 3:
        assert qdsl.plan(path).plans


def test_masks_that_are_wrong_alike_are_told_once(tmp_path: Path) -> None:
    save(segmenter(), tmp_path)
    for at in range(3):
        picture(tmp_path / f"road/images/{at}.png", (8, 8), seed=at)
        picture(tmp_path / f"road/masks/{at}.png", (8, 8), seed=at)
    path = recipe(tmp_path, 'masks "road" { classes ["a", "b", "c"] }', evaluate="evaluate segmentation on calib")
    assert told(path) == {"mask-format"}
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    (found,) = caught.value.diagnostics
    assert found.notes == ("3 of 3 masks are so",)


def test_black_and_white_masks_of_two_classes(tmp_path: Path) -> None:
    """Where 1 occurs beside 255, that is a value to leave out."""
    save(segmenter(), tmp_path)
    for at, values in enumerate(([0, 255], [0, 1, 255])):
        picture(tmp_path / f"{at}/images/a.png", (8, 8))
        (tmp_path / f"{at}/masks").mkdir()
        mask = np.resize(np.array(values, np.uint8), (8, 8))
        Image.fromarray(mask).save(tmp_path / f"{at}/masks/a_mask.png")
        evaluate = "evaluate segmentation on calib"
        with pytest.raises(QdslError) as caught:
            qdsl.plan(recipe(tmp_path, f'masks "{at}" {{ classes ["a", "b"] as [0, 1] }}', evaluate=evaluate))
        cure = caught.value.diagnostics[0].help[0]
        assert ("divide its values by 255" in cure) == (at == 0) and ("`ignore 255`" in cure) == (at == 1)


def test_pictures_of_which_none_has_a_mask(tmp_path: Path) -> None:
    """The data is there, and does not serve: that is not left open as data of another machine is."""
    save(segmenter(), tmp_path)
    picture(tmp_path / "road/images/a.png", (8, 8))
    picture(tmp_path / "road/masks/a_labels.png", (8, 8))
    path = recipe(tmp_path, 'masks "road" { classes ["a", "b", "c"] }', evaluate="evaluate segmentation on calib")
    assert told(path) == {"data-empty"}


def segmenter() -> ModelProto:
    """Scores of three classes for each pixel: the colours themselves."""
    node = helper.make_node("Conv", ["images", "w"], ["y"], name="conv1", kernel_shape=[1, 1])
    return graph_of([node], ["y"], constants={"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)})
