"""Labels, boxes, names, arrays and pictures that cannot be, in every source: an error at its place."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import data_spec, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_sources import coco_tree, opened, yolo_tree

import qdsl.data
from qdsl.data.files import chosen
from qdsl.data.masks import same_shape
from qdsl.data.npz import MAX_ROWS
from qdsl.diag import QdslError

HUGE = "9" * 5000


def code_of(error: QdslError) -> str:
    (found,) = error.diagnostics
    return found.code


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 -0.1 0.2", "0 0.5 0.5 0.1 -1e-9", "0 nan 0.5 0.1 0.2", "0 0.5 inf 0.1 0.2", "0 1e308 0.5 0.1 0.2",
        "0 320 240 50 60", f"{HUGE} 0.5 0.5 0.1 0.2", f"0 {HUGE} 0.5 0.1 0.2", "-1 0.5 0.5 0.1 0.2",
        "2 0.5 0.5 0.1 0.2",
        "0.5 0.5 0.5 0.1 0.2", "nan 0.5 0.5 0.1 0.2", "\u0660 0.5 0.5 0.1 0.2", "0 0.5 0.5 0.1",
        "0 0.5 0.5 0.1 0.2 0.3",
        "0 1.3 0.5 0.2 0.2", "0 0.5 -0.2 0.1 0.3", "0 1.1 0.5 1.2 0.5 1.2 0.6",
        "0 0.5 0.5 0.1 x", "0", "0 0.1 0.1 0.2 0.2 0.3 1e9",
    ],
)  # fmt: skip
def test_yolo_labels_that_cannot_be(tmp_path: Path, line: str) -> None:
    yaml = yolo_tree(tmp_path)
    (tmp_path / "labels/train/1.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n", encoding="utf-8")
    dataset = opened(data_spec("yolo", yaml, split="train"))
    with pytest.raises(QdslError, match="bad label") as caught:
        dataset.labels(0)
    (found,) = caught.value.diagnostics
    assert found.code == "data-label" and found.span is not None
    assert (found.span.file, found.span.line) == ("labels/train/1.txt", 2)


@pytest.mark.parametrize("line", ["0 0.5 0.5 0 0", "1.0 0.5 0.5 1.02 1", "1.000 0 0 .5 .5", "0 .1 .1 .2 .1 .3 .6"])
def test_yolo_labels_that_people_have(tmp_path: Path, line: str) -> None:
    yaml = yolo_tree(tmp_path)
    (tmp_path / "labels/train/1.txt").write_text(f"\n{line}\n")
    (label,) = opened(data_spec("yolo", yaml, split="train")).labels(0)
    assert label.index == int(float(line.split()[0])) and label.box is not None


def test_class_numbers_without_names_are_bounded(tmp_path: Path) -> None:
    yaml = yolo_tree(tmp_path, "train: images/train\n")
    (tmp_path / "labels/train/1.txt").write_text("99999999999 0.5 0.5 0.2 0.2\n")
    with pytest.raises(QdslError, match="bad label"):
        opened(data_spec("yolo", yaml)).labels(0)


def annotation(**change: Any) -> dict[str, Any]:
    return {"id": 7, "image_id": 2, "category_id": 9, "bbox": [1, 2, 3, 4]} | change


@pytest.mark.parametrize(
    "bbox",
    [
        [float("nan"), 2, 3, 4], [1, 2, float("inf"), 4], [1, 2, -3, 4], [1, 2, 3, -1e-9], [1e308, 2, 3, 4],
        [10.5, 2, 3, 4], [1, -9, 3, 4], [1, 21, 3, 4], [-8, 2, 7, 4],
        [10**400, 2, 3, 4], [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, None], None, {}, [True, 2, 3, 4], [1, 2, [3], 4],
    ],
)  # fmt: skip
def test_coco_boxes_that_cannot_be(tmp_path: Path, bbox: Any) -> None:
    dataset = opened(data_spec("coco", coco_tree(tmp_path, annotations=[annotation(bbox=bbox)])))
    with pytest.raises(QdslError, match=r"entry 0 of `annotations`, of 2\.png, ") as caught:
        dataset.labels(1)
    assert code_of(caught.value) == "data-label" and dataset.labels(0) == ()


@pytest.mark.parametrize("side", [0, -5, 1e-320, float("nan"), float("inf"), 10**400, "10", None, True, 0.5])
def test_coco_pictures_of_a_size_that_cannot_be(tmp_path: Path, side: Any) -> None:
    rows = [{"id": 2, "file_name": "2.png", "width": side, "height": 20}]
    dataset = opened(data_spec("coco", coco_tree(tmp_path, images=rows, annotations=[annotation()])))
    with pytest.raises(QdslError, match="width and height") as caught:
        dataset.labels(0)
    assert code_of(caught.value) == "data-label"


_IMAGE = {"id": 2, "file_name": "2.png", "width": 10, "height": 20}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"categories": [{"id": 9, "name": "\ud800"}]}, "data-name"),
        ({"categories": [{"id": 9, "name": "x" * 5000}]}, "data-name"),
        ({"categories": [{"id": 9, "name": "a\nb"}]}, "data-name"),
        ({"categories": [{"id": 9, "name": ""}]}, "data-name"),
        ({"categories": [{"id": 9, "name": "a"}, {"id": 9, "name": "b"}]}, "data-coco"),
        ({"categories": [{"id": True, "name": "a"}]}, "data-coco"),
        ({"images": [_IMAGE | {"file_name": "\udfff.png"}]}, "data-name"),
        ({"images": [_IMAGE | {"file_name": "a" * 5000 + ".png"}]}, "data-name"),
        ({"images": [_IMAGE | {"file_name": "a/" * 5000 + "a.png"}]}, "data-name"),
        ({"images": [_IMAGE | {"file_name": "a\0.png"}]}, "data-name"),
        ({"images": [_IMAGE, _IMAGE | {"file_name": "1.png"}]}, "data-coco"),
        ({"images": [_IMAGE, _IMAGE | {"id": 3}]}, "data-coco"),
        ({"images": [_IMAGE | {"id": 1.5}]}, "data-coco"),
        ({"images": [_IMAGE | {"id": None}]}, "data-coco"),
    ],
)
def test_coco_names_and_numbers_that_cannot_be(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    with pytest.raises(QdslError) as caught:
        opened(data_spec("coco", coco_tree(tmp_path, **change)))
    assert code_of(caught.value) == code


def test_coco_integers_of_5000_digits_are_told(tmp_path: Path) -> None:
    file = coco_tree(tmp_path)
    file.write_text(file.read_text().replace("[1, 2, 3, 4]", f"[1, 2, {HUGE}, 4]"))
    with pytest.raises(QdslError, match="data-coco"):
        opened(data_spec("coco", file))


def test_a_folder_whose_name_is_no_text_is_no_class(tmp_path: Path) -> None:
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/b\xe9ton")  # noqa: PTH102 - bytes
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    picture(tmp_path / "clean/1.png")
    with pytest.raises(QdslError, match="surrogate") as caught:
        opened(data_spec("folder", tmp_path))
    assert code_of(caught.value) == "data-name"


def test_masks_of_another_shape_than_their_picture() -> None:
    assert (
        same_shape((480, 640), (480, 640)) and same_shape((120, 160), (480, 640)) and same_shape((67, 90), (200, 267))
    )
    assert not same_shape((640, 480), (480, 640)) and not same_shape((240, 640), (480, 640))


# ---- npz -------------------------------------------------------------------------------------------------------------


def npz_of(path: Path, header: bytes, data: bytes = b"", compress: int = zipfile.ZIP_STORED) -> Path:
    """An npz with one member `x` of this header, padded as numpy writes it."""
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data)
    return path


def described(descr: str, shape: str, order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


@pytest.mark.parametrize(
    "header",
    [
        described("()", "(2,)"), described("(),", "(2,)"), described("'<f4'", "(-2, -3)"),
        described("'<f4'", "(2, -1)"),
        described("'<f4'", f"({HUGE}, 1)"), described("'<f4'", "6"),
        described("'<q9'", "(6,)"), described("'<M8[s]'", "(6,)"), described("[('a', '<f4')]", "(6,)"),
        described("'|O'", "(6,)"), described("'<f4'", "(1e3,)"), b"-" * 9000, b"(" * 9000, b"{" * 60000, b"\x00\xff",
        b"",
        described("'<f4'", "(" + "1, " * 3000 + ")"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be(tmp_path: Path, header: bytes) -> None:
    file = npz_of(tmp_path / "c.npz", header, bytes(24))
    with pytest.raises(QdslError) as caught:
        qdsl.data.open(data_spec("npz", file), (), {"x": ("float32", None)})
    assert code_of(caught.value) in {"npz-broken", "npz-array", "data-size"}


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_bent_npz_files_read_or_give_a_diagnostic(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("bent") / "c.npz"
    save = np.savez_compressed if data.draw(st.booleans()) else np.savez
    save(path, x=np.arange(12, dtype=np.float32).reshape(3, 4), y=np.arange(3))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        dataset = qdsl.data.open(data_spec("npz", path, label="y"), (), {"x": ("float32", None)})
        assert len(dataset) <= 10**6
        for index in range(min(3, len(dataset))):
            assert dataset.sample(index).arrays["x"].dtype == np.float32
            assert len(dataset.labels(index)) == 1
    except QdslError as error:
        assert {d.code.split("-")[0] for d in error.diagnostics} <= {"npz", "data", "input"}


@pytest.mark.parametrize("label", [-1, 2**63, 10**9])
def test_npz_labels_that_cannot_be(tmp_path: Path, label: int) -> None:
    np.savez(
        tmp_path / "c.npz", x=np.zeros((2, 3), np.float32), y=np.array([label, 0], np.uint64 if label > 0 else int)
    )
    dataset = qdsl.data.open(data_spec("npz", tmp_path / "c.npz", label="y"), (), {"x": ("float32", None)})
    with pytest.raises(QdslError, match="has the label") as caught:
        dataset.labels(0)
    assert code_of(caught.value) == "npz-array" and dataset.labels(1)[0].index == 0


def test_rows_of_nothing_are_no_samples(tmp_path: Path) -> None:
    file = npz_of(tmp_path / "c.npz", described("'<f4'", "(10000000, 0)"))
    assert file.stat().st_size < 300
    with pytest.raises(QdslError, match="holds no number"):
        qdsl.data.open(data_spec("npz", file), (), {"x": ("float32", None)})


def test_many_rows_are_counted_before_they_are_listed_and_taken_first(tmp_path: Path) -> None:
    count = 20 * MAX_ROWS
    file = npz_of(tmp_path / "c.npz", described("'|u1'", f"({count}, 1)"), bytes(count), zipfile.ZIP_DEFLATED)
    with pytest.raises(QdslError, match="claims 20000000 samples") as caught:
        qdsl.data.open(data_spec("npz", file), (), {"x": ("uint8", (1, 1))})
    assert code_of(caught.value) == "data-size" and "take" in caught.value.diagnostics[0].help[0]
    with pytest.raises(QdslError, match="claims 20000000 samples"):
        qdsl.data.open(data_spec("npz", file, take=(2, 7)), (), {"x": ("uint8", (1, 1))})
    dataset = qdsl.data.open(data_spec("npz", file, take=(2, None)), (), {"x": ("uint8", (1, 1))})
    assert dataset.ids == ("c.npz[0]", "c.npz[1]") and dataset.available == count


def test_rows_of_several_files_are_drawn_as_pictures_are(tmp_path: Path) -> None:
    for name, rows in (("b", 5), ("a", 7), ("c", 3)):
        np.savez(tmp_path / f"{name}.npz", x=np.arange(rows * 2, dtype=np.float32).reshape(rows, 2))
    takes = {"x": ("float32", (1, 2))}
    every = qdsl.data.open(data_spec("npz", tmp_path), (), takes)
    assert len(every) == 15 and every.ids[6:8] == ("a.npz[6]", "b.npz[0]")
    for count, seed in ((4, 3), (14, 1), (15, 1), (99, 1), (6, None), (8, None)):
        drawn = qdsl.data.open(data_spec("npz", tmp_path, take=(count, seed)), (), takes)
        assert drawn.ids == chosen(every.ids, every.ids, (count, seed)) and drawn.available == 15
        for index in range(len(drawn)):
            file, row = drawn.ids[index].rstrip("]").split("[")
            with np.load(tmp_path / file) as held:
                np.testing.assert_array_equal(drawn.sample(index).arrays["x"][0], held["x"][int(row)])


def test_json_of_a_dataset_is_no_place_for_depth(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(QdslError, match="data-coco"):
        opened(data_spec("coco", tmp_path / "deep.json"))
