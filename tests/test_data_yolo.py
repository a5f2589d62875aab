"""YOLO descriptions as people have them: what YAML allows, where files may lie, and what is refused at which line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from data_cases import data_spec, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_sources import opened, yolo_tree

from qdsl.data.yolo_yaml import MAX_DEPTH, MAX_NODES, parse
from qdsl.diag import Diagnostics, QdslError

ULTRALYTICS = """# COCO8 dataset
path: {path} # dataset root dir
train: images/train # train images (relative to 'path')
val: images/val
test: # test images (optional)

# Classes
names:
  0: person
  1: traffic light

# Download script/URL (optional)
download: |
  import os
  os.system("touch ran")
"""
ROBOFLOW = """train: ../train/images
val: ../valid/images
test: ../test/images

nc: 2
names: ['Person', 'it''s a dog']

roboflow:
  workspace: some-workspace
  project: people
  version: 3
  license: CC BY 4.0
"""
YOLOV5 = """# YOLOv5 by Ultralytics, GPL-3.0 license
# parent
# ├── yolov5
path: .
train: [images/train, images/val]

nc: 3
names: [ 'person', 'bicycle',
         "caf\\u00e9" ]  # class names

# Download script/URL (optional)
download: |
  # Download labels
  d='../datasets' # unzip directory
  curl -L "https://example.com/$f" -o $f -# && unzip -q $f -d $d && rm $f &

  if [ ! -d $d ]; then echo "{none}: *here"; fi
"""


def texts(text: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    found = parse(text, "people.yaml")
    return found.names, {split: tuple(place.text for place in places) for split, places in found.splits.items()}


@pytest.mark.parametrize(
    ("text", "names", "train"),
    [
        ("train: a # note\nnames: [x, 'y, z', \"#w\"]", ("x", "y, z", "#w"), ("a",)),
        ("---\ntrain: [a, b]\nnames:\n  0: x  # first\n  1: 'y'\nnc: 2\n", ("x", "y"), ("a", "b")),
        ("train:\n- a\n- b/c d\nnames:\n- x\n", ("x",), ("a", "b/c d")),
        ("train: a\nval:\ntest: null\nnames: {1: y, 0: x}", ("x", "y"), ("a",)),
        ('"train": a#b\nnames: []', (), ("a#b",)),
        ("train: a\nnames: ['it''s', yes, 012, 1.5, ~x]", ("it's", "yes", "012", "1.5", "~x"), ("a",)),
        ("train: a\nnames: [one,\n  two,\n  three]", ("one", "two", "three"), ("a",)),
        ("{train: a, names: {0: x}, nc: 1}", ("x",), ("a",)),
        ("train: &here a\nval: *here\nnames: &n [x]", ("x",), ("a",)),
        ("train: >\n  a\n  b\n", (), ("a b",)),
        ("train: a\nnames:\n  0: person\n  # note\n\n  1: dog", ("person", "dog"), ("a",)),
        (ULTRALYTICS.format(path="../datasets/coco8"), ("person", "traffic light"), ("images/train",)),
        (ROBOFLOW, ("Person", "it's a dog"), ("../train/images",)),
        (YOLOV5, ("person", "bicycle", "café"), ("images/train", "images/val")),
    ],
)
def test_yaml_as_people_write_it(text: str, names: tuple[str, ...], train: tuple[str, ...]) -> None:
    found = texts(text)
    assert found[0] == names and found[1]["train"] == train


BAD = {
    "names: !!python/object/apply:os.system [a]": (1, 8),
    "names: !!python/name:os.system a": (1, 8),
    "names: !!set {a, b}": (1, 8),
    "names: |\n  a": (1, 8),
    "path: [a, b]": (1, 7),
    "path: a\nnc: many": (2, 5),
    "nc: 99999999999999999999": (1, 5),
    "nc: \u0663\nnames: [a, b, c]": (1, 5),
    "names: {0: a,\n 2: b}": (2, 2),
    "names: {a: b}": (1, 9),
    "names: [a]\nnc: 2": (2, 5),
    "train: a\ntrain: b": (2, 1),
    "- a": (1, 1),
    "names:\n\t- a": (2, 1),
    "path: {a: b}": (1, 7),
    "names: [a, b": (1, 13),
    "names:\n  0: a\n    1: b": (3, 6),
    "just text": (1, 1),
    "names: {0: a,\n\n 0: b}": (3, 2),
    "train: {a: b}": (1, 8),
    "names:\n  - a\n  0: b": (3, 3),
    "path: @x": (1, 7),
    "names: person": (1, 8),
    "names: [a, [b]]": (1, 12),
    "names:\n- a\n-\n": (3, 2),
    "names: &a [*a]": (1, 8),
    "names: *nobody": (1, 8),
    'names: ["\\ud800"]': (1, 9),
    'names: ["a\\nb"]': (1, 9),
    'names: ["\\UFFFFFFFF"]': (1, 1),
    f"names: [{'x' * 300}]": (1, 9),
    "train: a\n--- \ntrain: b": (2, 1),
    "%YAML 99.1\n---\na: b": (1, 1),
    "[" * 100: (1, 101),
    "? [a]\n: b": (1, 3),
    "train: a\x00b": (1, 9),
}


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_read_is_told_at_its_place(text: str) -> None:
    with pytest.raises(QdslError) as caught:
        parse(text, "people.yaml")
    (found,) = caught.value.diagnostics
    assert found.code == "data-yaml" and found.span is not None
    assert (found.span.file, found.span.line, found.span.column) == ("people.yaml", *BAD[text])


@given(st.text(alphabet="abn:mes[]{},- \n'\"#0123&*!|>\t%?\\ux", max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_text_as_yaml_parses_or_gives_a_diagnostic(text: str) -> None:
    for whole in (text, f"names: {text}", f'names: ["{text}"]'):
        try:
            assert parse(whole, "f").names is not None
        except QdslError as error:
            assert {d.code for d in error.diagnostics} == {"data-yaml"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "train: x" + " " * 500_000 + "y",
        " " * 500_000,
        "names: [" + "a, " * 3 * MAX_NODES,
        "a: &x b\nnames: [" + "*x, " * 3 * MAX_NODES,
        "- " * 300_000,
        "[" * 300_000,
        "a" * 500_000 + ": b",
        "a: b #" + "x" * 500_000,
        "? " * 300_000,
        "\n".join(
            ["a0: &l0 lol", *(f"a{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 60)), "names: *l59"]
        ),
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_takes_time_that_grows_with_its_length_alone(text: str) -> None:
    started = time.process_time()
    try:
        parse(text, "people.yaml")
    except QdslError:
        assert MAX_DEPTH < 100
    assert time.process_time() - started < 10


def test_a_key_nobody_knows_is_warned_of_and_those_of_trainers_are_not(tmp_path: Path) -> None:
    diags = Diagnostics()
    yaml = yolo_tree(tmp_path, ULTRALYTICS.format(path=".") + "kpt_shape: [17, 3]\nlicense: MIT\n")
    dataset = opened(data_spec("yolo", yaml, split="train"), diags=diags)
    assert dataset.classes == ("person", "traffic light") and len(dataset) == 2
    assert [d.code for d in diags if d.code.startswith("data-yaml")] == ["data-yaml-key"]
    assert not (tmp_path / "ran").exists()


def test_keypoints_behind_a_box_are_no_polygon(tmp_path: Path) -> None:
    """Of two numbers a keypoint, their count is that of a polygon's points."""
    yaml = yolo_tree(tmp_path, "train: images/train\nnames: [person]\nkpt_shape: [3, 2]\n")
    file = tmp_path / "labels/train/1.txt"
    file.write_text("0 0.5 0.5 0.2 0.4 0.1 0.1 0 0 0.9 0.9\n0 0.5 0.5 0.2 0.4\n")
    for label in opened(data_spec("yolo", yaml)).labels(0):
        assert label.box == pytest.approx((0.4, 0.3, 0.6, 0.7))
    file.write_text("0 0.1 0.1 0.2 0.2 0.3 0.1\n")
    with pytest.raises(QdslError, match="6 numbers after the class, expected four, and 6 of keypoints"):
        opened(data_spec("yolo", yaml)).labels(0)
    for bad in ("17", "[17]", "[a, 3]", "{a: 3}"):
        yaml.write_text(f"train: images/train\nnames: [person]\nkpt_shape: {bad}\n")
        with pytest.raises(QdslError, match="`kpt_shape` must be two whole numbers"):
            opened(data_spec("yolo", yaml))


def test_folders_beside_a_roboflow_file(tmp_path: Path) -> None:
    picture(tmp_path / "d/train/images/a.jpg")
    (tmp_path / "d/train/labels").mkdir()
    (tmp_path / "d/train/labels/a.txt").write_text("1 0.5 0.5 1 1\n")
    (tmp_path / "d/data.yaml").write_text(ROBOFLOW)
    dataset = opened(data_spec("yolo", tmp_path / "d/data.yaml", split="train"))
    assert dataset.ids == ("train/images/a.jpg",) and dataset.labels(0)[0].index == 1


def test_the_folder_that_is_literally_named_comes_first(tmp_path: Path) -> None:
    for name in ("train/images/outer.jpg", "d/train/images/inner.jpg"):
        picture(tmp_path / name)
    (tmp_path / "d/data.yaml").write_text(ROBOFLOW)
    with pytest.raises(QdslError, match="data-escape") as caught:
        opened(data_spec("yolo", tmp_path / "d/data.yaml", split="train"))
    assert '`outside "../train"`' in caught.value.diagnostics[0].help[0]
    allowed = {"outside": ("../train",), "outside_paths": (str(tmp_path / "d/../train"),)}
    dataset = opened(data_spec("yolo", tmp_path / "d/data.yaml", split="train", **allowed))
    assert dataset.ids == ("../train/images/outer.jpg",)
    assert dataset.reader.file(0)[1].exists()


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_absolute_root_needs_one_line_in_the_recipe(tmp_path: Path, slash: str) -> None:
    yolo_tree(tmp_path / "far")
    (tmp_path / "near").mkdir()
    yaml = tmp_path / "near/people.yaml"
    yaml.write_text(f"path: {tmp_path}/far{slash}\ntrain: images/train\nnames: [person, dog]\n")
    with pytest.raises(QdslError, match="data-escape") as caught:
        opened(data_spec("yolo", yaml))
    assert '`outside "../far"`' in caught.value.diagnostics[0].help[0]
    dataset = opened(data_spec("yolo", yaml, outside=("../far",), outside_paths=(str(tmp_path / "far"),)))
    assert dataset.ids == ("images/train/1.jpg", "images/train/2.jpg")
    assert [label.index for label in dataset.labels(0)] == [0, 1]


def test_absolute_paths_that_stay_inside_need_no_line(tmp_path: Path) -> None:
    yaml = yolo_tree(tmp_path, f"path: {tmp_path}\ntrain: {tmp_path}/list.txt\nnames: [person, dog]\n")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/images/train/1.jpg\nimages/val/3.jpg\nnotes.md\n")
    diags = Diagnostics()
    dataset = opened(data_spec("yolo", yaml), diags=diags)
    assert dataset.ids == ("images/train/1.jpg", "images/val/3.jpg") and len(dataset.labels(0)) == 2
    assert dataset.skipped == ("notes.md: no picture by its name",)
    assert "data-skipped" in [d.code for d in diags]


def test_a_list_may_not_name_files_outside(tmp_path: Path) -> None:
    yaml = yolo_tree(tmp_path / "d", "train: list.txt\nnames: [person, dog]\n")
    picture(tmp_path / "other/9.jpg")
    (tmp_path / "d/list.txt").write_text("images/train/1.jpg\n../other/9.jpg\n")
    with pytest.raises(QdslError, match=r"list\.txt, line 2, lists") as caught:
        opened(data_spec("yolo", yaml))
    assert '`outside "../other"`' in caught.value.diagnostics[0].help[0]


def test_boxes_outside_what_is_allowed_are_refused_not_left_out(tmp_path: Path) -> None:
    yolo_tree(tmp_path / "far")
    (tmp_path / "near").mkdir()
    yaml = tmp_path / "near/people.yaml"
    yaml.write_text("train: ../far/images/train\nnames: [person, dog]\n")
    narrow = {"outside": ("x",), "outside_paths": (str(tmp_path / "far/images"),)}
    with pytest.raises(QdslError, match=r"boxes of .* outside") as caught:
        opened(data_spec("yolo", yaml, **narrow))
    assert '`outside "../far' in caught.value.diagnostics[0].help[0]


def test_a_root_of_another_machine_falls_back_to_the_files_own_folder(tmp_path: Path) -> None:
    diags = Diagnostics()
    yaml = yolo_tree(tmp_path, ULTRALYTICS.format(path="/content/datasets/people"))
    dataset = opened(data_spec("yolo", yaml, split="train"), diags=diags)
    assert dataset.ids == ("images/train/1.jpg", "images/train/2.jpg")
    assert "data-yaml-path" in [d.code for d in diags]


@pytest.mark.parametrize("where", ["train", "train/deep"])
def test_labels_where_images_is_above_the_root(tmp_path: Path, where: str) -> None:
    picture(tmp_path / f"images/{where}/a.jpg")
    (tmp_path / f"labels/{where}").mkdir(parents=True)
    (tmp_path / f"labels/{where}/a.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "people.yaml").write_text("path: images\ntrain: train\nnames: [person]\n")
    assert len(opened(data_spec("yolo", tmp_path / "people.yaml")).labels(0)) == 1


def test_pyyaml_is_taken_in_only_where_a_description_is_read() -> None:
    code = "import sys, qdsl.api, qdsl.data, qdsl.data.yolo; print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
