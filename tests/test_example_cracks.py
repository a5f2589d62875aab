"""The crack classifier example: pictures, generator, networks and exported files are what they say they are."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from example_tools import parameter_count, shared
from PIL import Image

import qdsl.lang
from qdsl import data
from qdsl.data import ModelInput

ROOT = Path(__file__).resolve().parents[1]
CRACKS = ROOT / "examples" / "cracks"
COUNTS = {"train": 160, "val": 200}
CLASSES = ("clean", "crack")
# Name, convolutions, largest size in bytes.
MODELS = [("mobilenet_v1_025", 27, 900_000), ("mobilenet_v2_050", 52, 2_900_000)]


def load(name: str) -> ModuleType:
    """A module of the example when it is needed: some import torch."""
    return importlib.import_module(f"examples.cracks.{name}")


@pytest.mark.parametrize("split", sorted(COUNTS))
def test_classes_take_turns_and_pictures_have_the_networks_size(split: str) -> None:
    for first, kind in enumerate(CLASSES):
        files = sorted((CRACKS / split / kind).iterdir())
        assert [path.name for path in files] == [f"{i:05d}.jpg" for i in range(first, COUNTS[split], 2)]
        for path in files:
            with Image.open(path) as image:
                assert (image.size, image.mode) == ((224, 224), "RGB")
    assert sorted(path.name for path in (CRACKS / split).iterdir()) == list(CLASSES)


def test_pictures_take_less_than_three_megabytes() -> None:
    files = [path for split in COUNTS for path in (CRACKS / split).rglob("*.jpg")]
    assert 2_000_000 <= sum(path.stat().st_size for path in files) <= 3_000_000
    assert len({path.read_bytes() for path in files}) == len(files)


def test_generator_makes_the_committed_pictures_again() -> None:
    surfaces = load("surfaces")
    for split, index in (("train", 0), ("train", 1), ("val", 198), ("val", 199)):
        picture = surfaces.make_picture(7, split, index)
        path = CRACKS / split / surfaces.label(index) / f"{index:05d}.jpg"
        with Image.open(path) as image, Image.open(io.BytesIO(surfaces.jpeg(picture))) as again:
            stored, made = (np.asarray(i.convert("RGB"), dtype=np.float64) for i in (image, again))
        # Another version of Pillow or numpy may round differently here and there.
        assert np.abs(stored - made).mean() < 1.0


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    surfaces = load("surfaces")
    alone = surfaces.make_picture(3, "train", 5)
    surfaces.make_picture(3, "train", 4)
    assert np.array_equal(alone, surfaces.make_picture(3, "train", 5))
    assert not np.array_equal(alone, surfaces.make_picture(3, "val", 5))
    assert not np.array_equal(alone, surfaces.make_picture(4, "train", 5))


def test_cracks_can_be_seen() -> None:
    surfaces, concrete, fissures = load("surfaces"), load("concrete"), load("fissures")
    rng = np.random.default_rng(0)
    surface = concrete.random_surface(rng)
    plain = surfaces.take(surface, 1)
    assert not surfaces.visible(plain, plain)
    habit = fissures.Habit(width=6.0, depth=0.9, wander=0.05, jag=0.2, branches=0.0, gaps=0.0)
    for _ in range(5):
        walks = fissures.random_walks(rng, habit)
        assert fissures.inside(walks[0].points) >= fissures.LEAST
        cracked = surface.copy()
        cracked.tone(-0.9 * fissures.gap(rng, walks, 1.0, 0.3))
        assert surfaces.visible(plain, surfaces.take(cracked, 1))
    assert np.array_equal(plain, surfaces.take(surface, 1))  # neither taking nor cracking a copy changed it


@pytest.mark.slow
def test_every_mark_draws_on_a_surface_and_stays_in_range() -> None:
    concrete, marks, surfaces = load("concrete"), load("marks"), load("surfaces")
    for mark in sorted(set(marks.MARKS), key=lambda m: m.__name__):
        changed = 0
        for seed in range(4):
            rng = np.random.default_rng([seed])
            surface = concrete.random_surface(rng)
            before = surface.seen()
            mark(rng, surface)
            after = surface.seen()
            assert after.shape == (224, 224, 3) and after.dtype == np.float32
            assert np.isfinite(after).all() and after.min() >= 0, mark.__name__
            changed += int(np.abs(after - before).max() > 0.01)
            assert surfaces.take(surface, seed).shape == (224, 224, 3)
        assert changed >= 3, mark.__name__


@pytest.mark.parametrize(("name", "convs", "most"), MODELS, ids=[m[0] for m in MODELS])
def test_committed_models_run_and_hold_no_trace_of_where_they_were_made(name: str, convs: int, most: int) -> None:
    path = CRACKS / f"{name}.onnx"
    data = path.read_bytes()
    assert len(data) < most
    for word in (b"/work/", b"/root/", b"/opt/", b"/home/", b"stack_trace"):
        assert word not in data
    model = onnx.load_from_string(data)
    assert model.ir_version <= 13 and model.opset_import[0].version == 17
    assert sum(node.op_type == "Conv" for node in model.graph.node) == convs
    assert not any(node.op_type in ("BatchNormalization", "Softmax") for node in model.graph.node)
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("images", [1, 3, 224, 224])]
    with Image.open(CRACKS / "val" / "crack" / "00001.jpg") as image:
        pixels = np.asarray(image, dtype=np.float32) / 128 - 1
    (logits,) = session.run(["logits"], {"images": pixels.transpose(2, 0, 1)[None]})
    assert logits.shape == (1, 2) and np.isfinite(logits).all()


def test_models_take_less_than_five_megabytes() -> None:
    assert sum(path.stat().st_size for path in CRACKS.glob("*.onnx")) < 5_000_000


def test_networks_have_the_published_parameter_counts() -> None:
    torch = pytest.importorskip("torch", reason="torch builds the networks")
    model = load("model")
    assert parameter_count(model.mobilenet_v1(1000, 1.0)) == 4_231_976
    assert parameter_count(model.mobilenet_v1(1000, 0.25)) == 470_072
    assert parameter_count(model.mobilenet_v2(1000, 1.0)) == 3_504_872
    assert parameter_count(model.mobilenet_v2(1000, 0.5)) == 1_968_680
    for name, parameters in (("mobilenet_v1_025", 213_586), ("mobilenet_v2_050", 690_242)):
        network = model.NETWORKS[name]().eval()
        assert parameter_count(network) == parameters
        with torch.no_grad():
            assert network(torch.zeros(2, 3, 32, 64)).shape == (2, 2)


def test_channels_are_rounded_to_eights_and_never_by_more_than_a_tenth() -> None:
    pytest.importorskip("torch", reason="model.py imports torch")
    scaled = load("model").scaled
    assert [scaled(c, 0.5) for c in (16, 24, 32, 64, 96, 160, 320)] == [8, 16, 16, 32, 48, 80, 160]
    assert all(scaled(c, w / 20) >= 0.9 * c * w / 20 for c in range(8, 400, 8) for w in range(1, 30))


def test_training_prepares_pictures_as_the_recipes_say() -> None:
    pytest.importorskip("torch", reason="train.py imports torch")
    train = load("train")
    for path in sorted((ROOT / "recipes").glob("cracks_*.q")):
        recipe = qdsl.lang.load(path).recipe
        takes = {"images": ModelInput("float32", (1, 3, 224, 224))}
        dataset = data.open(recipe.dataset("val"), recipe.inputs, takes)
        index = next(at for at, name in enumerate(dataset.ids) if name.endswith("crack/00003.jpg"))
        prepared = train.prepare(train.read(CRACKS / "val" / "crack" / "00003.jpg")).numpy()
        np.testing.assert_array_equal(prepared, dataset.sample(index).arrays["images"][0], err_msg=path.name)
        assert -1 <= prepared.min() < prepared.max() <= 127 / 128


def test_augmented_pictures_keep_their_size_and_class() -> None:
    pytest.importorskip("torch", reason="train.py imports torch")
    train = load("train")
    items = train.Pictures(CRACKS, 3, 320)
    kinds = [items[i][1] for i in range(0, 160, 8)]
    assert set(kinds) == {0, 1}
    image, kind = items[7]
    again, same = items[7]
    assert image.shape == (3, 224, 224) and kind == same and bool((image == again).all())
    assert float(image.min()) >= -1 and float(image.max()) < 1


def test_a_few_steps_of_training_lower_the_loss() -> None:
    torch = pytest.importorskip("torch", reason="torch trains")
    model, train, training = load("model"), load("train"), shared("training")
    torch.manual_seed(0)
    network = model.mobilenet_v1().train()
    items = train.Pictures(CRACKS, 1, 8)
    images = torch.stack([items[i][0][:, ::3, ::3] for i in range(8)])
    kinds = torch.tensor([items[i][1] for i in range(8)])
    optimizer = training.make_optimizer(network, "adamw", 3e-3, train.HABIT)
    values = []
    for _ in range(10):
        value = torch.nn.functional.cross_entropy(network(images), kinds)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.isfinite(values).all()
    assert values[-1] < 0.5 * values[0]
