"""What the samples themselves show while they are measured: pictures of one colour, and repeats that move no range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_setups import conv, save
from data_cases import picture
from PIL import Image

import qdsl
from qdsl.calibrate import Request, merged, observe
from qdsl.data.image import FLAT, decode, is_flat
from qdsl.diag import Diagnostic

RECIPE = """recipe example
model onnx "model.onnx"
input { resize 8 stretch }
data calib from SOURCE
quantize static { weights int8; activations uint8; calibrate METHOD on calib }
target ort
"""


def project(folder: Path, source: str = 'images "photos"', method: str = "minmax") -> Path:
    save(conv(), folder)
    recipe = folder / "example.q"
    recipe.write_text(RECIPE.replace("SOURCE", source).replace("METHOD", method))
    return recipe


def told(recipe: Path, code: str) -> list[Diagnostic]:
    result = qdsl.compile(recipe, out=recipe.parent / "build", lock=False, workers=2)
    return [found for found in result.diagnostics if found.code == code]


def plain(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 150), colour).save(path)


def test_pictures_of_one_colour_are_named(tmp_path: Path) -> None:
    for at in range(4):
        picture(tmp_path / f"photos/{at}.png", seed=at)
    recipe = project(tmp_path)
    assert not told(recipe, "data-flat")
    for name in ("9", "8", "7", "6"):
        plain(tmp_path / f"photos/{name}.jpg", (0, 0, int(name)))
    (found,) = told(recipe, "data-flat")
    assert found.headline == "4 pictures of dataset calib are of one colour"
    assert found.label == "6.jpg, 7.jpg, 8.jpg, ..."
    assert found.span is not None and found.span.line == 4


def test_pictures_stored_as_arrays_are_looked_at_too(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    pixels[1] = 77
    np.savez(tmp_path / "calib.npz", images=pixels)
    (found,) = told(project(tmp_path, 'npz "calib.npz"'), "data-flat")
    assert found.label == "calib.npz[1]"


@pytest.mark.parametrize("spread, flat", [(0.0, True), (FLAT / 2, True), (1.5 * FLAT, False)])
def test_the_bound_is_a_standard_deviation(spread: float, flat: bool) -> None:
    noise = np.random.default_rng(1).standard_normal((300, 200, 3)) * spread
    assert is_flat(np.clip(128 + noise, 0, 255).astype(np.uint8)) is flat


def test_small_bright_things_on_black_are_seen(tmp_path: Path) -> None:
    """They fall between the pixels of the first glance."""
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[15::20, 13::20] = 255
    assert pixels[::10, ::10].max() == 0
    Image.fromarray(pixels).save(tmp_path / "stars.png")
    assert not is_flat(decode(tmp_path / "stars.png", "stars.png", None))


def test_a_colour_that_changes_from_channel_to_channel_only_is_flat() -> None:
    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[:, :, 0] = 255
    assert is_flat(pixels)


def test_shards_and_interruptions_forget_none(tmp_path: Path) -> None:
    from qdsl.data import ModelInput
    from qdsl.data import open as open_data
    from qdsl.work.prepared import prepare, read

    for at in range(5):
        picture(tmp_path / f"photos/{at}.png", seed=at)
    plain(tmp_path / "photos/2.png", (9, 9, 9))
    plain(tmp_path / "photos/3.png", (1, 2, 3))
    prepared = prepare(read(project(tmp_path), {}))
    takes = {"images": ModelInput("float32", (1, 3, 8, 8))}
    dataset = open_data(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes)
    parts = [observe(prepared.model, [Request("y")], dataset, shard=(i, 2)) for i in (1, 0)]
    again = [type(part).from_json(part.to_json()) for part in parts]
    assert merged(again).flat == {2, 3}


OVER = 'folder "photos" { oversample "crack" 5 }'


def classes(folder: Path) -> None:
    for at, name in enumerate(("crack/1", "clean/1", "clean/2")):
        picture(folder / f"photos/{name}.png", seed=at)


def test_repeats_alone_move_no_minimum(tmp_path: Path) -> None:
    classes(tmp_path)
    (found,) = told(project(tmp_path, OVER), "sampling-no-effect")
    assert found.headline == "`oversample` of dataset calib changes no range: it leaves no picture out"


@pytest.mark.parametrize(
    "source, method",
    [(OVER, "mse"), (OVER.replace("5", "5; take 3 seed 1"), "minmax"), ('folder "photos"', "minmax")],
)
def test_what_moves_a_range_is_not_told(source: str, method: str, tmp_path: Path) -> None:
    classes(tmp_path)
    assert not told(project(tmp_path, source, method), "sampling-no-effect")


def test_nothing_is_told_twice(tmp_path: Path) -> None:
    classes(tmp_path)
    (found,) = told(project(tmp_path, OVER.replace("5", '5, "clean" 5')), "sampling-no-effect")
    assert found.label == "every picture gets the same factor"
