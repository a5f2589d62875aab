"""Every diagnostic code of data and calibration is raised by a small case; what a person reads is in the goldens."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_setups import broken_video, no_video, odd_table
from data_cases import block, bomb, data_spec, graph_of, picture, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from test_data_sources import coco_tree, yolo_tree

import qdsl.data
from qdsl.calibrate import Observations, Ranges, merged, minmax
from qdsl.data.image import decode
from qdsl.diag import Diagnostics, QdslError, render_all
from qdsl.diag.codes.data import CODES
from qdsl.graph import from_proto

BLOCK = block(("resize", 8, 8, "stretch"))
TAKES = {"images": ("float32", (1, 3, 8, 8))}


def use(spec: Any, inputs: Any = (BLOCK,), takes: Any = None) -> qdsl.data.Dataset:
    """Open a dataset, read its first sample, raise what went to the report."""
    diags = Diagnostics()
    dataset = qdsl.data.open(spec, inputs, takes or TAKES, diags)
    dataset.sample(0)
    if len(diags):
        raise QdslError(diags.sorted())
    return dataset


def photos(root: Path, name: str = "a.png", size: tuple[int, int] = (8, 6)) -> Path:
    picture(root / "photos" / name, size)
    return root / "photos"


def npz(root: Path, **arrays: Any) -> Path:
    np.savez(root / "calib.npz", **arrays)
    return root / "calib.npz"


def calibrate(root: Path, nodes: Any, tensor: str, **constants: Any) -> None:
    model = from_proto(graph_of(nodes, [tensor], constants=constants))
    minmax(model, [tensor], use(data_spec("images", photos(root))))


def missing(root: Path) -> None:
    use(data_spec("images", root / "photos"))


def unreadable(root: Path) -> None:
    (root / "photos/a.jpg/x").mkdir(parents=True)
    use(data_spec("coco", root / "photos/a.jpg/x", root / "photos/a.jpg", split="../x"))


def special_file(root: Path) -> None:
    os.mkfifo(root / "a.png")
    use(data_spec("images", root / "a.png"))


def claims_too_much(root: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1, 1 << 38)})
    with zipfile.ZipFile(root / "calib.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(8))
    use(data_spec("npz", root / "calib.npz"))


def huge_file(root: Path) -> None:
    path = root / "people.yaml"
    with path.open("wb") as file:
        file.truncate(5 * 2**20)
    use(data_spec("yolo", path, split="train"))


def empty(root: Path) -> None:
    (root / "photos").mkdir()
    use(data_spec("images", root / "photos"))


def escape_yaml(root: Path) -> None:
    use(data_spec("yolo", yolo_tree(root, "train: ../../secret\nnames: [a]\n"), split="train"))


def escape_coco(root: Path) -> None:
    images = [{"id": 1, "file_name": "/etc/passwd"}]
    use(data_spec("coco", coco_tree(root, images=images, annotations=[])))


def bad_label(root: Path) -> None:
    yaml = yolo_tree(root)
    (root / "labels/train/1.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5\n")
    use(data_spec("yolo", yaml, split="train", classes=("person",)))


def table_twice(root: Path) -> None:
    photos(root)
    (root / "labels.csv").write_text("file,label\nphotos/a.png,a\n./photos/a.png,b\n")
    use(data_spec("csv", root / "labels.csv"))


def takes_one_class(root: Path) -> None:
    for at, name in enumerate(("a/1.png", "a/2.png", "b/1.png")):
        picture(root / "photos" / name, seed=at)
    use(data_spec("folder", root / "photos", take=(2, None)))


def long_file_name(root: Path) -> None:
    images = [{"id": 1, "file_name": "a" * 5000 + ".png", "width": 8, "height": 8}]
    use(data_spec("coco", coco_tree(root, images=images, annotations=[])))


def surrogate_in_yaml(root: Path) -> None:
    use(data_spec("yolo", yolo_tree(root, 'train: "images\\ud800"\n')))


def cut_json(root: Path) -> None:
    file = coco_tree(root)
    file.write_text(file.read_text()[:-9])
    use(data_spec("coco", file))


def skipped(root: Path) -> None:
    for name in ("images/a.png", "images/b.png", "masks/a.png"):
        picture(root / "road" / name)
    use(data_spec("masks", root / "road"))


def stray_mask(root: Path) -> None:
    for at, name in enumerate(("images/a.jpg", "masks/a.png", "masks/b.png")):
        picture(root / "road" / name, seed=at)
    use(data_spec("masks", root / "road"))


def stray_labels(root: Path) -> None:
    """Two label files whose pictures are gone, beside a list of classes and notes, which are none."""
    yaml = yolo_tree(root)
    for name in ("7.txt", "9.txt", "classes.txt", "notes.txt"):
        (root / "labels/train" / name).write_text("0 0.5 0.5 0.2 0.2\n" if name[0].isdigit() else "person\n")
    use(data_spec("yolo", yaml, split="train", classes=("person",)))


def stray_boxes(root: Path) -> None:
    rows = [
        {"id": at, "image_id": image, "category_id": 9, "bbox": [1, 2, 3, 4]} for at, image in enumerate((2, 77, 78))
    ]
    use(data_spec("coco", coco_tree(root, annotations=rows)))


def loose_pictures(root: Path) -> None:
    for at, name in enumerate(("a/1.png", "b/1.png", "loose.png")):
        picture(root / "photos" / name, seed=at)
    use(data_spec("folder", root / "photos"))


def missing_of_table(root: Path) -> None:
    photos(root)
    (root / "labels.csv").write_text("file,label\nphotos/a.png,a\nphotos/b.png,b\nphotos/c.png,b\n")
    spec = data_spec("csv", root / "labels.csv")
    qdsl.data.look(use(spec), spec)


def unread_format(root: Path) -> None:
    photos(root)
    (root / "photos/b.heic").write_bytes(b"")
    use(data_spec("images", root / "photos"))


def unknown_category(root: Path) -> None:
    rows = [{"id": at, "image_id": 2, "category_id": at, "bbox": [1, 2, 3, 4]} for at in (9, 5, 6)]
    use(data_spec("coco", coco_tree(root, annotations=rows)))


def cut_picture(root: Path) -> None:
    path = photos(root, "a.jpg", (64, 64)) / "a.jpg"
    path.write_bytes(path.read_bytes()[:400])
    use(data_spec("images", root / "photos"))


def no_picture(root: Path) -> None:
    (photos(root) / "a.png").write_bytes(b"hello")
    use(data_spec("images", root / "photos"))


def zero_bytes(root: Path) -> None:
    (photos(root) / "a.png").write_bytes(b"")
    use(data_spec("images", root / "photos"))


def bombs(root: Path) -> None:
    bomb(root / "photos/a.png")
    use(data_spec("images", root / "photos"))


def small_bomb(root: Path) -> None:
    bomb(root / "photos/a.png", 9000, 8000)
    use(data_spec("images", root / "photos"))


def broken_npz(root: Path) -> None:
    (root / "calib.npz").write_bytes(b"PK" + bytes(range(200)))
    use(data_spec("npz", root / "calib.npz"))


def objects(root: Path) -> None:
    use(data_spec("npz", npz(root, images=np.array([{}], dtype=object))))


def other_array(root: Path) -> None:
    use(data_spec("npz", npz(root, left=np.zeros((2, 3)), right=np.zeros((2, 3)))))


def wrong_type(root: Path) -> None:
    steps = block(("resize", 8, 8, "stretch"), ("rescale", 1 / 255))
    use(data_spec("images", photos(root)), (steps,), {"images": ("uint8", (1, 3, 8, 8))})


def two_inputs(root: Path) -> None:
    takes = {"a": ("float32", None), "b": ("float32", None)}
    use(data_spec("images", photos(root)), (block(("resize", 8, 8, "stretch"), name="a"),), takes)


def layout_wanted(root: Path) -> None:
    use(data_spec("images", photos(root)), (BLOCK,), {"images": ("float32", (1, 8, 8, 3))})


def size_wanted(root: Path) -> None:
    use(data_spec("images", photos(root)), (block(("resize", 16, 16, "stretch")),))


def unknown_tensor(root: Path) -> None:
    minmax(from_proto(small_net()), ["m2"], use(data_spec("images", photos(root))))


def unknown_operator(root: Path) -> None:
    calibrate(root, [helper.make_node("Nobody", ["images"], ["y"], name="n", domain="none.such")], "y")


def impossible_shape(root: Path) -> None:
    node = helper.make_node("Reshape", ["images", "to"], ["y"], name="reshape1")
    model = graph_of([node], ["y"], shape=("n", 3, 8, 8), constants={"to": np.array([1, 1, -1, 5])})
    minmax(from_proto(model), ["y"], use(data_spec("images", photos(root))))


def logarithm(root: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["images", "half"], ["z"], name="sub1"),
        helper.make_node("Log", ["z"], ["y"], name="log1"),
    ]
    calibrate(root, nodes, "y", half=np.float32([128]))


CASES: dict[str, dict[str, Callable[[Path], Any]]] = {
    "data-missing": {"": missing, "table": missing_of_table},
    "data-unreadable": {"pipe": special_file},
    "data-size": {"npz": claims_too_much, "yaml": huge_file},
    "data-empty": {"": empty},
    "data-escape": {"yaml": escape_yaml, "coco": escape_coco},
    "data-paths": {"": lambda root: use(data_spec("folder", photos(root), photos(root)))},
    "data-split": {
        "name": lambda root: use(data_spec("yolo", yolo_tree(root), split="trian")),
        "none": lambda root: use(data_spec("yolo", yolo_tree(root))),
        "path": unreadable,
    },
    "data-class": {"": lambda root: use(data_spec("folder", photos(root, "crack/a.png"), classes=("crak",)))},
    "data-label": {"": bad_label, "coco": unknown_category},
    "data-name": {"coco": long_file_name, "yaml": surrogate_in_yaml},
    "data-yaml": {
        "names": lambda root: use(data_spec("yolo", yolo_tree(root, "train: x\n\nnames: person\n"))),
        "cut": lambda root: use(data_spec("yolo", yolo_tree(root, "train: x\nnames: [a, b\n"))),
    },
    "data-yaml-key": {
        "": lambda root: use(data_spec("yolo", yolo_tree(root, "train: images/train\nnmaes: [person]\n")))
    },
    "data-yaml-path": {
        "": lambda root: use(data_spec("yolo", yolo_tree(root, "path: /content/x\ntrain: images/train\n")))
    },
    "data-coco": {"": cut_json},
    "data-classes": {
        "": lambda root: use(data_spec("yolo", yolo_tree(root), split="train", classes=("dog",), numbers=(16,)))
    },
    "data-csv": {
        "columns": lambda root: odd_table(root) or use(data_spec("csv", root / "labels.csv")),
        "twice": table_twice,
    },
    "take-classes": {"": takes_one_class},
    "video-absent": {"": no_video},
    "video-broken": {"": broken_video},
    "data-setting": {"": lambda root: use(data_spec("images", photos(root), split="train"))},
    "data-skipped": {"": skipped, "format": unread_format},
    "data-unmatched": {"masks": stray_mask, "yolo": stray_labels, "coco": stray_boxes, "folder": loose_pictures},
    "take-short": {"": lambda root: use(data_spec("images", photos(root), take=(300, None)))},
    "data-duplicates": {
        "": lambda root: [photos(root, f"{i}.png") for i in range(5)] and use(data_spec("images", root / "photos"))
    },
    "sampling-value": {
        "sum": lambda root: use(data_spec("folder", photos(root, "a/a.png"), ratio=(("a", 0.9),))),
        "factor": lambda root: use(data_spec("folder", photos(root, "a/a.png"), oversample=(("a", 2.5),))),
        "twice": lambda root: use(data_spec("folder", photos(root, "a/a.png"), oversample=(("a", 2), ("a", 3)))),
    },
    "sampling-no-effect": {
        "factor": lambda root: use(data_spec("folder", photos(root, "a/a.png"), oversample=(("a", 2),))),
        "class": lambda root: use(data_spec("folder", photos(root, "a/a.png"), oversample=(("background", 2),))),
    },
    "sampling-empty": {
        "ratio": lambda root: use(
            data_spec("folder", photos(root, "a/a.png"), ratio=(("a", 0.5), ("background", 0.5)))
        ),
        "balance": lambda root: use(data_spec("yolo", yolo_tree(root), split="train", balance=True)),
    },
    "image-broken": {"cut": cut_picture, "text": no_picture, "empty": zero_bytes},
    "image-bomb": {"": bombs, "small": small_bomb},
    "data-non-finite": {
        "": lambda root: use(
            data_spec("npz", npz(root, images=np.float32([[1], [np.nan]])[::-1])), (), {"images": ("float32", (1, 1))}
        )
    },
    "npz-broken": {"": broken_npz},
    "npz-array": {"objects": objects, "names": other_array},
    "input-shape": {"size": size_wanted, "layout": layout_wanted},
    "input-crop": {"": lambda root: use(data_spec("images", photos(root)), (block(("crop", 8, 8)),))},
    "input-channels": {
        "": lambda root: use(
            data_spec("images", photos(root)), (block(("resize", 8, 8, "stretch"), ("mean", 0.5, 0.5)),)
        )
    },
    "input-dtype": {"": wrong_type},
    "input-not-picture": {"": lambda root: use(data_spec("npz", npz(root, images=np.zeros((1, 3, 4, 4)))))},
    "input-unknown": {
        "": lambda root: use(data_spec("images", photos(root)), (block(("resize", 8, 8, "stretch"), name="imagse"),))
    },
    "input-missing": {"": two_inputs},
    "calibration-tensor": {"": unknown_tensor},
    "calibration-load": {"": unknown_operator},
    "calibration-run": {"": impossible_shape},
    "calibration-non-finite": {"": logarithm},
    "calibration-parts": {"": lambda root: merged([Observations("key", 1, {0}), Observations("key", 1, {0})])},
    "calibration-ranges": {"": lambda root: Ranges.from_json('{"samples": 1, "tensors": {"a": [2, 1]}}')},
}


def cases() -> list[Any]:
    return [
        pytest.param(code, name, case, id=f"{code}-{name}" if name else code)
        for code, named in CASES.items()
        for name, case in named.items()
    ]


@pytest.mark.parametrize(("code", "name", "case"), cases())
def test_golden(
    code: str, name: str, case: Callable[[Path], Any], tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    with pytest.raises(QdslError) as caught:
        case(tmp_path)
    assert code in {d.code for d in caught.value.diagnostics}
    text = render_all(caught.value.diagnostics, {})
    assert str(tmp_path) not in text, "no machine path in a message"
    golden(f"data/{code}{'-' + name if name else ''}.txt", text)


def test_every_code_has_a_case_and_an_example() -> None:
    assert set(CASES) == set(CODES)
    for doc in CODES.values():
        assert doc.summary and doc.explanation and "recipe bad" in doc.example and doc.setup


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_file_without_permission_is_a_diagnostic(tmp_path: Path) -> None:
    path = photos(tmp_path) / "a.png"
    path.chmod(0)
    with pytest.raises(QdslError, match="data-unreadable"):
        use(data_spec("images", tmp_path / "photos"))


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_bent_pictures_decode_or_give_a_diagnostic(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("bent")
    suffix = data.draw(st.sampled_from(["png", "jpg", "bmp", "tif", "webp", "ppm"]))
    picture(root / f"a.{suffix}", (9, 7))
    raw = bytearray((root / f"a.{suffix}").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (root / f"a.{suffix}").write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    try:
        assert decode(root / f"a.{suffix}", "a", None).shape[2] == 3
    except QdslError as error:
        assert error.diagnostics[0].code in {"image-broken", "image-bomb"}


def test_an_input_that_no_picture_fills_is_not_given_a_block(tmp_path: Path) -> None:
    takes = {"a": ("float32", (1, 3, 8, 8)), "mask": ("int64", (1, 50))}
    with pytest.raises(QdslError) as caught:
        use(data_spec("images", photos(tmp_path)), (block(("resize", 8, 8, "stretch"), name="a"),), takes)
    (found,) = caught.value.diagnostics
    assert found.code == "input-missing"
    assert found.help == ("no picture has the 2 dimensions of mask: use an npz with one array per input",)
