"""The person detector example: data, generator, network and exported files are what they say they are."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from example_tools import parameter_count, shared
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = ROOT / "examples" / "people"
SIZES = {(640, 480), (480, 640), (512, 512), (640, 360), (576, 432)}
COUNTS = {"train": 300, "val": 150}


def load(name: str) -> ModuleType:
    """A module of the example when it is needed: some import torch."""
    return importlib.import_module(f"examples.people.{name}")


@pytest.mark.parametrize("split", sorted(COUNTS))
def test_images_have_labels_and_known_sizes(split: str) -> None:
    images = sorted((PEOPLE / "images" / split).glob("*.jpg"))
    labels = sorted((PEOPLE / "labels" / split).glob("*.txt"))
    assert [p.stem for p in images] == [p.stem for p in labels] == [f"{i:05d}" for i in range(COUNTS[split])]
    sizes = set()
    for path in images:
        with Image.open(path) as image:
            sizes.add(image.size)
    assert sizes == SIZES


def test_images_take_less_than_ten_megabytes() -> None:
    total = sum(path.stat().st_size for path in (PEOPLE / "images").rglob("*.jpg"))
    assert 7_000_000 <= total <= 10_000_000


@pytest.mark.parametrize(("split", "people", "without"), [("train", 949, 51), ("val", 464, 27)])
def test_labels_are_boxes_inside_the_image(split: str, people: int, without: int) -> None:
    rows = [path.read_text(encoding="utf-8").splitlines() for path in sorted((PEOPLE / "labels" / split).glob("*.txt"))]
    assert (sum(map(len, rows)), sum(not lines for lines in rows)) == (people, without)
    boxes = np.array([[float(word) for word in line.split()] for lines in rows for line in lines])
    assert boxes.shape == (people, 5)
    assert set(boxes[:, 0]) == {0.0}
    low, high = boxes[:, 1:3] - boxes[:, 3:5] / 2, boxes[:, 1:3] + boxes[:, 3:5] / 2
    assert low.min() >= -2e-6 and high.max() <= 1 + 2e-6
    assert boxes[:, 3:5].min() > 0


def test_generator_makes_the_committed_scenes_again() -> None:
    scenes = load("scenes")
    for split in COUNTS:
        scene = scenes.make_scene(7, split, 0)
        label = (PEOPLE / "labels" / split / "00000.txt").read_text(encoding="utf-8")
        assert shared("boxes").label_text((0, *box) for box in scene.boxes) == label
        with Image.open(PEOPLE / "images" / split / "00000.jpg") as image:
            stored = np.asarray(image.convert("RGB").reduce(8), dtype=np.float64)
        # The stored picture went through a lossy JPEG; sensor noise is what it loses, so 8 x 8 pixels are averaged.
        made = np.asarray(Image.fromarray(scene.image).reduce(8), dtype=np.float64)
        assert np.abs(stored - made).mean() < 2.5


@pytest.mark.slow
def test_a_scene_does_not_depend_on_its_neighbours() -> None:
    scenes = load("scenes")
    alone = scenes.make_scene(3, "train", 5)
    scenes.make_scene(3, "train", 4)
    again = scenes.make_scene(3, "train", 5)
    assert np.array_equal(alone.image, again.image) and alone.boxes == again.boxes
    assert not np.array_equal(alone.image, scenes.make_scene(3, "val", 5).image)


def test_committed_model_has_the_public_names_and_runs() -> None:
    path = PEOPLE / "yolov8n.onnx"
    names = {node.name for node in onnx.load(str(path)).graph.node if node.op_type == "Conv"}
    assert len(names) == 64
    assert {"/model.0/conv/Conv", "/model.22/cv2.0/cv2.0.2/Conv", "/model.22/dfl/conv/Conv"} <= names
    assert path.stat().st_size < 13_000_000
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
    with Image.open(PEOPLE / "images" / "val" / "00001.jpg") as image:
        pixels = np.asarray(image.convert("RGB").resize((640, 640)), dtype=np.float32) / 255
    (output,) = session.run(["output0"], {"images": pixels.transpose(2, 0, 1)[None]})
    assert output.shape == (1, 5, 8400)
    assert np.isfinite(output).all()
    assert output[0, 4].min() >= 0 and output[0, 4].max() <= 1


def test_tiny_exports_agree() -> None:
    ort = pytest.importorskip("onnxruntime")
    pixels = np.random.default_rng(0).random((1, 3, 320, 320), dtype=np.float32)
    outputs = []
    for exporter in ("torchscript", "dynamo"):
        path = ROOT / "tests" / "data" / f"yolov8_tiny_{exporter}.onnx"
        assert path.stat().st_size < 600_000
        assert sum(node.op_type == "Conv" for node in onnx.load(str(path)).graph.node) == 64
        outputs.append(ort.InferenceSession(str(path)).run(["output0"], {"images": pixels})[0])
    assert outputs[0].shape == (1, 5, 2100)
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(
    "path",
    [PEOPLE / "yolov8n.onnx", *sorted((ROOT / "tests" / "data").glob("yolov8_tiny_*.onnx"))],
    ids=lambda p: p.stem,
)
def test_exports_hold_no_trace_of_where_they_were_made(path: Path) -> None:
    data = path.read_bytes()
    for word in (b"/work/", b"/root/", b"/opt/", b"/home/", b"stack_trace"):
        assert word not in data


def test_network_has_the_published_parameter_count() -> None:
    torch = pytest.importorskip("torch", reason="torch builds the network")
    model = load("model")
    assert parameter_count(model.YOLOv8(nc=1)) == 3_011_043
    assert parameter_count(model.YOLOv8(nc=80)) == 3_157_200
    network = model.YOLOv8(width=1 / 32, box_channels=16).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 12 * 8 + 6 * 4 + 3 * 2)


def test_overlap_of_a_box_with_itself_is_one() -> None:
    torch = pytest.importorskip("torch", reason="torch computes the loss")
    boxes = torch.tensor([[10.0, 20.0, 50.0, 90.0], [0.0, 0.0, 8.0, 8.0]])
    overlap = load("loss").complete_iou(boxes[:, None], boxes[None])
    assert torch.allclose(overlap.diagonal(), torch.ones(2), atol=1e-4)
    assert float(overlap[0, 1]) < 0  # apart: no intersection, and the centres' distance counts against it


def test_assignment_stays_inside_the_boxes_and_skips_padding() -> None:
    torch = pytest.importorskip("torch", reason="torch computes the loss")
    loss, model = load("loss"), load("model")
    points, strides = model.anchor_points([(8, 8), (4, 4), (2, 2)], torch.zeros(1))
    centres = (points[0] * strides).T
    boxes = torch.tensor([[[4.0, 4.0, 40.0, 60.0], [0.0, 0.0, 64.0, 64.0]]])
    targets = loss.Targets(boxes, torch.zeros(1, 2, dtype=torch.long), torch.tensor([[True, False]]))
    guesses = torch.cat((centres - 16, centres + 16), 1)[None]
    found = loss.assign(torch.full((1, 84, 1), 0.5), guesses, centres, targets)
    chosen = centres[found.positive[0]]
    assert 1 <= len(chosen) <= loss.TOP_K
    assert ((chosen > torch.tensor([4.0, 4.0])) & (chosen < torch.tensor([40.0, 60.0]))).all()
    assert (found.boxes[found.positive] == boxes[0, 0]).all()
    assert float(found.scores[~found.positive].sum()) == 0 < float(found.scores.sum())


@pytest.mark.slow
def test_a_few_steps_of_training_lower_the_loss() -> None:
    torch = pytest.importorskip("torch", reason="torch trains")
    loss, model, train, training = load("loss"), load("model"), load("train"), shared("training")
    torch.manual_seed(0)
    network = model.YOLOv8(width=1 / 32).train()
    items = train.Scenes(PEOPLE, 96, 1, 4)
    images, targets = train.collate([items[i] for i in range(4)])
    optimizer = training.make_optimizer(network, "adamw", 5e-3, train.HABIT)
    values = []
    for _ in range(16):
        value, _ = loss.detection_loss(network(images), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.isfinite(values).all()
    assert values[-1] < 0.8 * values[0]


def test_mirrored_and_moved_boxes_stay_inside() -> None:
    pytest.importorskip("torch", reason="train.py imports torch")
    items = load("train").Scenes(PEOPLE, 160, 3, 40)
    for index in range(0, 40, 4):
        image, boxes = items[index]
        assert image.shape == (3, 160, 160) and boxes.shape[1] == 4
        assert (boxes >= 0).all() and (boxes <= 160).all() and (boxes[:, 2:] > boxes[:, :2]).all()
