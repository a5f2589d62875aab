"""The steel defect example: scenes, generator, network and exported file are what they say they are."""

from __future__ import annotations

import importlib
import io
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from example_tools import parameter_count, shared
from PIL import Image

from qdsl.data.files import chosen, item_names
from qdsl.data.sampling import sampled, wanted
from qdsl.data.yolo import yolo
from qdsl.diag import Diagnostics
from qdsl.lang.loading import load as load_recipe

ROOT = Path(__file__).resolve().parents[1]
STEEL = ROOT / "examples" / "steel"
CLASSES = ("crack", "inclusion", "pit", "scale")
SCENES = {
    "train": {"clean": 368, "crack": 12, "inclusion": 8, "pit": 8, "scale": 4},
    "val": {"clean": 72, "crack": 42, "inclusion": 42, "pit": 42, "scale": 42},
}
BOXES = {"train": (15, 13, 10, 7), "val": (64, 60, 66, 58)}


def load(name: str) -> ModuleType:
    """A module of the example when it is needed: some import torch."""
    return importlib.import_module(f"examples.steel.{name}")


def rows(path: Path) -> list[list[float]]:
    """Class, centre x, centre y, width and height of each box of a label file."""
    return [[float(word) for word in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("split", sorted(SCENES))
def test_pictures_have_labels_and_the_networks_size(split: str) -> None:
    images = sorted((STEEL / "images" / split).iterdir())
    labels = sorted((STEEL / "labels" / split).iterdir())
    count = sum(SCENES[split].values())
    assert [p.name for p in images] == [f"{i:05d}.jpg" for i in range(count)]
    assert [p.name for p in labels] == [f"{i:05d}.txt" for i in range(count)]
    for path in images:
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((320, 320), "RGB")


def test_pictures_and_labels_take_less_than_five_megabytes() -> None:
    files = [path for kind in ("images", "labels") for path in (STEEL / kind).rglob("*.*")]
    assert 3_500_000 <= sum(path.stat().st_size for path in files) <= 5_000_000
    pictures = [path.read_bytes() for path in files if path.suffix == ".jpg"]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("split", sorted(SCENES))
def test_scenes_show_what_their_numbers_say_and_in_the_shares_of_the_study(split: str) -> None:
    plates = load("plates")
    scenes: Counter[str] = Counter()
    boxes: Counter[str] = Counter()
    for index, path in enumerate(sorted((STEEL / "labels" / split).iterdir())):
        kinds = [CLASSES[int(row[0])] for row in rows(path)]
        assert set(kinds) <= {plates.kind_of(split, index)} and len(kinds) <= plates.MOST
        scenes[kinds[0] if kinds else "clean"] += 1
        boxes.update(kinds)
    assert scenes == SCENES[split]
    assert tuple(boxes[kind] for kind in CLASSES) == BOXES[split]
    for first in (0, 100, 700):
        block = Counter(plates.kind_of("train", i) for i in range(first, first + 100))
        assert block == {"clean": 92, "crack": 3, "inclusion": 2, "pit": 2, "scale": 1}


@pytest.mark.parametrize("split", sorted(SCENES))
def test_labels_are_boxes_inside_the_picture(split: str) -> None:
    found = np.array([row for path in sorted((STEEL / "labels" / split).iterdir()) for row in rows(path)])
    low, high = found[:, 1:3] - found[:, 3:5] / 2, found[:, 1:3] + found[:, 3:5] / 2
    assert low.min() >= -2e-6 and high.max() <= 1 + 2e-6
    assert found[:, 3:5].min() >= 8 / 320 - 2e-6


@pytest.mark.slow
def test_defects_are_outside_of_what_clean_strip_shows() -> None:
    """The point of the study: ranges measured on clean strip cut defects off."""
    lows, highs = [], []
    for clean in (True, False):
        spans = []
        for label in sorted((STEEL / "labels" / "val").iterdir()):
            if (not label.read_text(encoding="utf-8")) == clean:
                with Image.open(STEEL / "images" / "val" / f"{label.stem}.jpg") as image:
                    spans.append(np.percentile(np.asarray(image), [0.02, 99.98]))
        lows.append(np.median(spans, axis=0)[0])
        highs.append(np.median(spans, axis=0)[1])
    assert lows[1] < 0.6 * lows[0] and highs[1] > highs[0] + 15


def test_generator_makes_the_committed_scenes_again() -> None:
    plates = load("plates")
    for split, index in (("train", 0), ("train", 396), ("val", 1), ("val", 3), ("val", 4), ("val", 5)):
        scene = plates.make_scene(7, split, index)
        label = STEEL / "labels" / split / f"{index:05d}.txt"
        np.testing.assert_allclose([[b.kind, b.x, b.y, b.width, b.height] for b in scene.boxes], rows(label), atol=0.01)
        path = STEEL / "images" / split / f"{index:05d}.jpg"
        with Image.open(path) as image, Image.open(io.BytesIO(plates.jpeg(scene.image))) as again:
            stored, made = (np.asarray(i.convert("RGB"), dtype=np.float64) for i in (image, again))
        # Another version of Pillow or numpy may round differently here and there.
        assert np.abs(stored - made).mean() < 1.0


def test_a_scene_does_not_depend_on_its_neighbours() -> None:
    plates = load("plates")
    alone = plates.make_scene(3, "val", 5)
    plates.make_scene(3, "val", 4)
    again = plates.make_scene(3, "val", 5)
    assert np.array_equal(alone.image, again.image) and alone.boxes == again.boxes
    assert not np.array_equal(alone.image, plates.make_scene(4, "val", 5).image)


def test_clean_scenes_can_be_thinned_out(tmp_path: Path) -> None:
    plates = load("plates")
    kinds = list(plates.write_split(tmp_path, "train", 20, 7, 8))
    shown = [i for i in range(20) if plates.kind_of("train", i) != "clean" or i % 8 == 0]
    assert [p.stem for p in sorted((tmp_path / "images" / "train").iterdir())] == [f"{i:05d}" for i in shown]
    assert kinds == [plates.kind_of("train", i) for i in shown]


@pytest.mark.slow
def test_every_mark_is_faint_and_every_defect_covers_what_it_changes() -> None:
    strip, marks, defects = load("strip"), load("marks"), load("defects")
    assert tuple(defects.DEFECTS) == defects.CLASSES == CLASSES
    for draw in (*sorted(set(marks.MARKS), key=lambda m: m.__name__), *defects.DEFECTS.values()):
        drawn = 0
        for seed in range(4):
            rng = np.random.default_rng([seed])
            before = strip.random_strip(rng)
            after = before.copy()
            cover = draw(rng, after)
            change = np.abs(after.colour / before.colour - 1).max(2)
            assert after.colour.shape == (320, 320, 3) and after.colour.dtype == np.float32, draw.__name__
            assert np.isfinite(after.colour).all() and after.colour.min() >= 0, draw.__name__
            if cover is None:
                assert change.max() < 0.55, draw.__name__
                drawn += int(change.max() > 0.02)
            else:
                assert change[cover > 0.9].mean() > 0.2, draw.__name__
                drawn += int(cover.max() > 0.9)
        assert drawn >= 3, draw.__name__


def test_boxes_of_a_scene_keep_apart() -> None:
    plates = load("plates")
    assert plates.apart((0, 10, 0, 10), (20, 30, 0, 10)) and plates.apart((0, 10, 0, 10), (9, 19, 0, 10))
    assert not plates.apart((0, 100, 0, 100), (40, 50, 40, 50))
    cover = np.zeros((320, 320), dtype=np.float32)
    assert plates.span(cover) is None
    cover[10:30, 50:54] = 1
    assert plates.span(cover) is None  # four pixels wide
    cover[12, 40:60] = 1
    assert plates.span(cover) == (40, 60, 10, 30)


def test_committed_model_runs_and_holds_no_trace_of_where_it_was_made() -> None:
    data = (STEEL / "steel.onnx").read_bytes()
    assert len(data) < 7_000_000
    for word in (b"/work/", b"/root/", b"/opt/", b"/home/", b"stack_trace"):
        assert word not in data
    model = onnx.load_from_string(data)
    assert model.ir_version <= 13 and model.opset_import[0].version == 17
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 38
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    session = pytest.importorskip("onnxruntime").InferenceSession(str(STEEL / "steel.onnx"))
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("images", [1, 3, 320, 320])]
    with Image.open(STEEL / "images" / "val" / "00001.jpg") as image:
        pixels = np.asarray(image, dtype=np.float32) / 255
    (found,) = session.run(["detections"], {"images": pixels.transpose(2, 0, 1)[None]})
    assert found.shape == (1, 8, 2100) and np.isfinite(found).all()
    assert found[0, 2:4].min() > 0 and found[0, 4:].min() >= 0 and found[0, 4:].max() <= 1


def test_recipes_calibrate_on_few_and_on_many_defects() -> None:
    drawn: dict[str, Counter[str]] = {}
    for name in ("steel_default", "steel_oversampled", "steel_percentile", "steel_per_tensor"):
        recipe = load_recipe(ROOT / "recipes" / f"{name}.q").recipe
        (spec,) = (data for data in recipe.data if data.name == "calib")
        listing = yolo(spec)
        plain = chosen(listing.items, item_names(listing.items), spec.take)
        items = sampled(spec, listing, Diagnostics()).items if wanted(spec) else plain
        assert len(items) == 32
        drawn[name] = Counter(listing.classes[label.index] for item in items for label in item.labels()[:1])
    assert drawn["steel_default"].total() <= 4 < 12 <= drawn["steel_oversampled"].total()
    assert set(drawn["steel_oversampled"]) == set(CLASSES)


def test_network_has_the_stated_size() -> None:
    torch = pytest.importorskip("torch", reason="torch builds the network")
    model = load("model")
    network = model.Detector().eval()
    assert parameter_count(network) == 1_649_880
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 8, 12 * 8 + 6 * 4 + 3 * 2)


def test_overlap_of_a_box_with_itself_is_one() -> None:
    torch = pytest.importorskip("torch", reason="torch computes the loss")
    boxes = torch.tensor([[10.0, 20.0, 50.0, 90.0], [0.0, 0.0, 8.0, 8.0]])
    iou, giou = load("loss").overlaps(boxes[:, None], boxes[None])
    assert torch.allclose(iou, torch.eye(2), atol=1e-4) and torch.allclose(giou.diagonal(), torch.ones(2), atol=1e-4)
    assert -1 < float(giou[0, 1]) < 0  # apart: the empty part of their hull counts against them


def test_boxes_go_to_the_stride_of_their_size_and_padding_to_none() -> None:
    torch = pytest.importorskip("torch", reason="torch computes the loss")
    loss, model = load("loss"), load("model")
    points, strides = model.cells([(40, 40), (20, 20), (10, 10)], torch.zeros(1))
    shapes = [(20, 20, 40, 40), (100, 100, 170, 170), (150, 10, 300, 160), (10, 300, 250, 306), (0, 0, 0, 0)]
    boxes = torch.tensor([shapes], dtype=torch.float32)
    targets = loss.Targets(boxes, torch.zeros(1, 5, dtype=torch.long), torch.tensor([[True] * 4 + [False]]))
    positive, owner = loss.assign(points.T, strides, targets)
    assert positive.shape == owner.shape == (1, 2100)
    learnt = owner[0][positive[0]]
    assert set(learnt.tolist()) == {0, 1, 2, 3}
    for number, stride in enumerate((8, 16, 32, 8)):  # the last one is long, but flat
        assert set(strides[positive[0] & (owner[0] == number)].tolist()) == {stride}
        assert 1 <= int((learnt == number).sum()) <= 9
    none = loss.Targets(boxes, targets.classes, torch.zeros(1, 5, dtype=torch.bool))
    assert not loss.assign(points.T, strides, none)[0].any()


@pytest.mark.slow
def test_a_few_steps_of_training_lower_the_loss() -> None:
    torch = pytest.importorskip("torch", reason="torch trains")
    loss, model, train, training = load("loss"), load("model"), load("train"), shared("training")
    torch.manual_seed(0)
    network = model.Detector().train()
    items = train.Scenes(STEEL, 1, 4)
    images, targets = train.collate([items[i] for i in range(2)])
    optimizer = training.make_optimizer(network, "adamw", 2e-3, train.HABIT)
    values = []
    for _ in range(8):
        value, _ = loss.detection_loss(network(images), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.isfinite(values).all()
    assert values[-1] < 0.8 * values[0]


def test_clean_pictures_alone_give_a_loss_without_boxes() -> None:
    torch = pytest.importorskip("torch", reason="torch computes the loss")
    loss, train = load("loss"), load("train")
    maps = [torch.zeros(2, 8, n, n, requires_grad=True) for n in (8, 4, 2)]
    _, targets = train.collate([(torch.zeros(3, 64, 64), torch.zeros(0, 5)) for _ in range(2)])
    value, parts = loss.detection_loss(maps, targets)
    value.backward()
    assert parts["box"] == 0 < parts["class"] and np.isfinite(float(value.detach()))


@pytest.mark.slow
def test_training_sees_every_class_equally_often() -> None:
    pytest.importorskip("torch", reason="train.py imports torch")
    train = load("train")
    items = train.Scenes(STEEL, 3, 400, clean=0.2)
    assert {kind: len(group) for kind, group in items.groups.items()} == {-1: 368, 0: 12, 1: 8, 2: 8, 3: 4}
    seen: Counter[int] = Counter()
    for index in range(0, 400, 4):
        image, boxes = items[index]
        assert image.shape == (3, 320, 320) and boxes.shape[1] == 5
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
        corners = boxes[:, :4]
        assert (corners >= 0).all() and (corners <= 320).all() and (corners[:, 2:] > corners[:, :2]).all()
        seen[int(boxes[0, 4]) if len(boxes) else -1] += 1
    assert set(seen) == {-1, 0, 1, 2, 3} and all(10 <= count <= 40 for count in seen.values())
    image, boxes = items[6]
    again, same = items[6]
    assert bool((image == again).all()) and bool((boxes == same).all())
