"""Every source on small datasets, `take`, and the order of samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import block, data_spec, picture

import qdsl.data
from qdsl.data.files import chosen, path_key
from qdsl.diag import Diagnostics, QdslError

INPUT = {"images": ("float32", (1, 3, 8, 8))}
RESIZE = (block(("resize", 8, 8, "stretch")),)


def opened(spec: Any, inputs: Any = RESIZE, takes: Any = None, diags: Diagnostics | None = None) -> qdsl.data.Dataset:
    return qdsl.data.open(spec, inputs, takes or INPUT, diags)


def test_images_from_folder_glob_list_and_file(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.txt", "deep/d.PNG"):
        picture(tmp_path / "photos" / name, format="PNG")
    folder = tmp_path / "photos"
    assert opened(data_spec("images", folder)).ids == ("a.jpg", "b.png", "deep/d.PNG")
    assert opened(data_spec("images", folder / "*.*")).ids == ("a.jpg", "b.png")
    assert opened(data_spec("images", folder / "**/*.*")).ids == ("a.jpg", "b.png", "deep/d.PNG")
    assert opened(data_spec("images", folder / "b.png")).ids == ("b.png",)
    both = opened(data_spec("images", folder / "deep", folder))
    assert both.ids == ("deep/d.PNG", "photos/a.jpg", "photos/b.png")  # each file once, by the path named first


@pytest.mark.parametrize("named", ["photos", "photos/*", "photos/**/*"])
def test_pictures_in_formats_that_are_not_read_are_counted(tmp_path: Path, named: str) -> None:
    for name in ("a.png", "deep/b.png"):
        picture(tmp_path / "photos" / name)
    for name in ("c.heic", "deep/d.GIF", "notes.txt"):
        (tmp_path / "photos" / name).write_bytes(b"")
    diags = Diagnostics()
    dataset = opened(data_spec("images", tmp_path / named), diags=diags)
    wanted = ["c.heic: a format that is not read", "deep/d.GIF: a format that is not read"]
    assert sorted(dataset.skipped) == (wanted[:1] if named.endswith("s/*") else wanted)
    assert "data-skipped" in {found.code for found in diags}


def test_samples_come_in_order_whether_prefetched_or_not(tmp_path: Path) -> None:
    for i in range(9):
        picture(tmp_path / "p" / f"{i}.png", seed=i)
    dataset = opened(data_spec("images", tmp_path / "p"))
    plain = list(dataset)
    ahead = list(dataset.prefetch(3))
    assert [s.id for s in plain] == [s.id for s in ahead] == list(dataset.ids)
    for a, b in zip(plain, ahead, strict=True):
        assert a.arrays["images"].shape == (1, 3, 8, 8)
        np.testing.assert_array_equal(a.arrays["images"], b.arrays["images"])


def test_folder_has_a_class_per_folder(tmp_path: Path) -> None:
    for name in ("train/crack/1.png", "train/crack/x/2.png", "train/clean/1.png", "val/clean/9.png"):
        picture(tmp_path / "d" / name)
    dataset = opened(data_spec("folder", tmp_path / "d", split="train"))
    assert dataset.ids == ("clean/1.png", "crack/1.png", "crack/x/2.png")
    assert dataset.classes == ("clean", "crack")
    assert [dataset.labels(i)[0].index for i in range(3)] == [0, 1, 1]
    only = opened(data_spec("folder", tmp_path / "d", split="train", classes=("crack",)))
    assert only.classes == ("crack",) and len(only) == 2


def yolo_tree(root: Path, yaml: str = "path: .\ntrain: images/train\nval: images/val\nnames: [person, dog]\n") -> Path:
    for name in ("train/1.jpg", "train/2.jpg", "val/3.jpg"):
        picture(root / "images" / name)
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/1.txt").write_text("0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.1 0.3 0.6\n")
    (root / "people.yaml").write_text(yaml)
    return root / "people.yaml"


def test_yolo_boxes_polygons_and_missing_label_files(tmp_path: Path) -> None:
    dataset = opened(data_spec("yolo", yolo_tree(tmp_path), split="train"))
    assert dataset.ids == ("images/train/1.jpg", "images/train/2.jpg") and dataset.classes == ("person", "dog")
    box, polygon = dataset.labels(0)
    assert box.index == 0 and box.box == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert polygon.index == 1 and polygon.box == pytest.approx((0.1, 0.1, 0.3, 0.6))
    assert dataset.labels(1) == ()
    dogs = opened(data_spec("yolo", tmp_path / "people.yaml", split="train", classes=("dog",)))
    assert dogs.ids == ("images/train/1.jpg",) and dogs.skipped == ("images/train/2.jpg: none of the classes",)


def test_yolo_list_of_files(tmp_path: Path) -> None:
    yaml = yolo_tree(tmp_path, "train: lists/train.txt\nnames: {0: person}\n")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text("images/val/3.jpg\n\n./../images/train/1.jpg\n")
    assert opened(data_spec("yolo", yaml)).ids == ("images/train/1.jpg", "images/val/3.jpg")


def coco_tree(root: Path, **change: Any) -> Path:
    picture(root / "images/1.png", (10, 20))
    picture(root / "images/2.png", (10, 20))
    rows = [{"id": i, "file_name": f"{i}.png", "width": 10, "height": 20} for i in (1, 2)]
    boxes = [{"id": 7, "image_id": 2, "category_id": 9, "bbox": [1, 2, 3, 4], "iscrowd": 1}]
    kinds = [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}]
    (root / "annotations").mkdir(exist_ok=True)
    file = root / "annotations/instances_val.json"
    file.write_text(json.dumps({"images": rows, "annotations": boxes, "categories": kinds} | change))
    return file


def test_coco_by_file_by_pair_and_by_split(tmp_path: Path) -> None:
    file = coco_tree(tmp_path)
    for spec in (
        data_spec("coco", file),
        data_spec("coco", file, tmp_path / "images"),
        data_spec("coco", tmp_path, split="val"),
    ):
        dataset = opened(spec)
        assert dataset.ids == ("1.png", "2.png") and dataset.classes == ("cat", "dog")
        assert dataset.labels(0) == ()
        (label,) = dataset.labels(1)
        assert label.index == 1 and label.crowd and label.box == pytest.approx((0.1, 0.1, 0.4, 0.3))


def test_coco_without_the_sizes_of_pictures(tmp_path: Path) -> None:
    rows = [{"id": at, "file_name": f"{at}.png"} for at in (1, 2)]
    dataset = opened(data_spec("coco", coco_tree(tmp_path, images=rows)))
    (label,) = dataset.labels(1)
    assert label.box == pytest.approx((0.1, 0.1, 0.4, 0.3))
    (tmp_path / "images/2.png").unlink()
    with pytest.raises(QdslError, match="data-missing"):
        dataset.labels(1)


def test_masks_pair_by_stem_and_tell_what_they_skip(tmp_path: Path) -> None:
    for name in ("images/a.png", "images/b.png", "masks/a.png"):
        picture(tmp_path / "road" / name)
    diags = Diagnostics()
    dataset = opened(data_spec("masks", tmp_path / "road"), diags=diags)
    assert dataset.ids == ("a.png",) and dataset.mask(0) == tmp_path / "road/masks/a.png"
    assert [d.code for d in diags] == ["data-skipped"]
    assert qdsl.data.describe(dataset).skipped == ("b.png: no mask of that name",)


@pytest.mark.parametrize("packed", [False, True])
def test_npz_rows_are_samples(tmp_path: Path, packed: bool) -> None:
    values = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float64)
    (np.savez_compressed if packed else np.savez)(tmp_path / "c.npz", x=values, y=np.arange(5))
    spec = data_spec("npz", tmp_path / "c.npz", arrays=(("x", "in"),), label="y")
    dataset = qdsl.data.open(spec, (), {"in": ("float32", (1, 4, 2))})
    assert dataset.ids == tuple(f"c.npz[{i}]" for i in range(5))
    for index in (3, 0, 4, 4, 1):
        np.testing.assert_array_equal(dataset.sample(index).arrays["in"], values[index : index + 1].astype(np.float32))
    seen = [sample.arrays["in"] for sample in dataset.prefetch(3)]
    np.testing.assert_array_equal(np.concatenate(seen), values.astype(np.float32))


def test_npz_of_pictures_takes_every_step_and_fills_two_inputs(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", images=pictures, size=np.float32([[1, 2], [3, 4]]))
    inputs = (block(("resize", 8, 8, "stretch"), name="images"), block(("rescale", 2.0), name="size"))
    takes = {"images": ("float32", (1, 3, 8, 8)), "size": ("float32", (1, 2))}
    first = qdsl.data.open(data_spec("npz", tmp_path / "c.npz"), inputs, takes).sample(1).arrays
    assert first["images"].shape == (1, 3, 8, 8)
    np.testing.assert_array_equal(first["size"], [[6, 8]])


@pytest.mark.parametrize("shape", [(3, 4), (4,), ()])
def test_npz_files_of_one_sample(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Arrays that fit the model as they are have no dimension for samples: with a batch of the model's own or not."""
    values = np.random.default_rng(1).random((3, *shape), np.float32)
    for index, value in enumerate(values):
        (tmp_path / f"d/{index % 2}").mkdir(parents=True, exist_ok=True)
        np.savez(tmp_path / f"d/{index % 2}/{index}.npz", x=value, y=index)
    for takes in ((1, *shape), shape):
        dataset = qdsl.data.open(data_spec("npz", tmp_path / "d", label="y"), (), {"x": ("float32", takes)})
        assert dataset.ids == ("0/0.npz", "0/2.npz", "1/1.npz")
        for index, number in enumerate((0, 2, 1)):
            np.testing.assert_array_equal(dataset.sample(index).arrays["x"].reshape(shape), values[number])
            assert dataset.sample(index).arrays["x"].shape == takes
            assert dataset.labels(index)[0].index == number


def test_npz_files_of_one_picture(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png")
    np.savez(tmp_path / "a.npz", picture=pixels)
    one, other = (opened(data_spec(kind, tmp_path / name)) for kind, name in (("images", "a.png"), ("npz", "a.npz")))
    np.testing.assert_array_equal(one.sample(0).arrays["images"], other.sample(0).arrays["images"])
    assert other.ids == ("a.npz",)


def test_one_picture_fills_every_input_by_its_own_block(tmp_path: Path) -> None:
    picture(tmp_path / "p/1.png")
    inputs = (block(("resize", 4, 4, "stretch"), name="a"), block(("resize", 2, 2, "stretch"), name="b"))
    takes = {"a": ("float32", ("n", 3, None, 4)), "b": ("uint8", (1, 3, 2, 2))}
    arrays = opened(data_spec("images", tmp_path / "p"), inputs, takes).sample(0).arrays
    assert arrays["a"].shape == (1, 3, 4, 4) and arrays["b"].dtype == np.uint8


def test_take_without_seed_is_the_first_in_path_order(tmp_path: Path) -> None:
    for name in ("b/1", "a.b/1", "a/2", "a/10"):
        picture(tmp_path / "p" / f"{name}.png")
    spec = data_spec("images", tmp_path / "p/**/*.png", take=(3, None))
    assert opened(spec).ids == ("a/10.png", "a/2.png", "a.b/1.png")


def test_take_with_seed_is_pinned_and_more_than_there_is_warned_of(tmp_path: Path) -> None:
    names = [f"{i:02d}" for i in range(20)]
    assert chosen(names, names, (5, 7)) == ("00", "03", "10", "15", "17")
    for name in names[:3]:
        picture(tmp_path / "p" / f"{name}.png", seed=int(name))
    diags = Diagnostics()
    assert len(opened(data_spec("images", tmp_path / "p", take=(9, 1)), diags=diags)) == 3
    assert [d.code for d in diags] == ["take-short"]


def test_a_seeded_choice_changes_little_when_files_are_added() -> None:
    names = [f"{i:03d}.jpg" for i in range(200)]
    fewer, more = (set(chosen(n, n, (50, 3))) for n in (names[:190], names))
    assert len(fewer & more) >= 40 and len(more) == 50
    assert path_key("a/10.png") < path_key("a.b/1.png")


def test_real_pictures_and_annotations(testdata: Path) -> None:
    folder = testdata / "images/coco_ccby"
    spec = data_spec("coco", folder / "annotations.json", take=(4, 2))
    inputs = (block(("resize", 416, 416, "letterbox", "top_left"), ("color", "bgr")),)
    dataset = opened(spec, inputs, {"images": ("float32", (1, 3, 416, 416))})
    assert dataset.available == 33 and len(dataset) == 4 and len(dataset.classes) == 80
    for sample in dataset:
        values = sample.arrays["images"]
        assert values.min() >= 0 and values.max() <= 255
    cracks = opened(data_spec("folder", testdata / "images/metu_crack"))
    assert len(cracks) == 120 and cracks.classes == ("Negative", "Positive")


def test_all_errors_of_a_dataset_come_at_once(tmp_path: Path) -> None:
    spec = data_spec("images", tmp_path / "none", split="train")
    with pytest.raises(QdslError) as caught:
        opened(spec, (block(("resize", 9, 9, "stretch")),))
    assert {d.code for d in caught.value.diagnostics} == {"data-missing", "data-setting", "input-shape"}


def test_npz_rows_fill_inputs_that_have_no_batch(tmp_path: Path) -> None:
    states, rates = np.random.default_rng(4).random((3, 2, 5), np.float32), np.array([8, 16, 24])
    np.savez(tmp_path / "c.npz", state=states, rate=rates)
    takes = {"state": ("float32", (2, 5)), "rate": ("int64", ())}
    dataset = opened(data_spec("npz", tmp_path / "c.npz"), (), takes)
    arrays = dataset.sample(1).arrays
    np.testing.assert_array_equal(arrays["state"], states[1])
    assert arrays["rate"].shape == () and arrays["rate"] == 16
